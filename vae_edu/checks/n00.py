"""The exercises of notebook 00, start here."""

from vae_edu.checks import Exercise

EXERCISES = [
    Exercise(
        todo='Answer "distribution" or "network".',
        right="distribution",
        why="For each z, p(x|z) is a simple distribution of the family you chose. The network is "
        "the function from z to its parameters.",
        wrong=[
            (
                "network",
                "The network is how p(x|z) gets its *parameters*. What it computes is a list of "
                "numbers; what you draw x from, with those numbers, is a simple distribution.",
            ),
            ("both", "One of them is p(x|z) for a fixed z; the other computes its parameters."),
        ],
        otherwise="For one fixed z, what do you need in order to draw an x?",
    ),
    Exercise(
        todo='Write a list of words, for example ["prior", "marginal"].',
        right=lambda words: {w.casefold() for w in words} == {"prior", "likelihood"},
        why="You choose the prior and the family of the likelihood. Marginal and posterior follow "
        "from the two by Bayes' rule, whether or not anybody can compute them.",
        wrong=[
            (
                lambda words: "posterior" in {w.casefold() for w in words},
                "The posterior p(z|x) is not yours to choose: once prior and likelihood are fixed, "
                "Bayes' rule fixes it. What you choose is a stand-in for it, q(z|x).",
            ),
            (
                lambda words: "marginal" in {w.casefold() for w in words},
                "The marginal p(x) follows: it is the likelihood averaged over the prior.",
            ),
            (
                lambda words: {w.casefold() for w in words} == {"prior"},
                "The prior, yes; but the family of p(x|z) is a choice too, the one this course is "
                "about.",
            ),
            (
                lambda words: {w.casefold() for w in words} == {"likelihood"},
                "The family of the likelihood, yes; and the prior as well.",
            ),
        ],
        otherwise="There are four objects: prior, likelihood, marginal, posterior. Two are chosen.",
    ),
    Exercise(
        todo="Give a whole number.",
        right=64 * 17,
        why="A softmax over 17 grey levels needs 17 numbers, for each of 64 pixels. The family "
        "says how many outputs the network has; the rest of the network may stay as it is.",
        wrong=[
            (
                64,
                "One number a pixel is what a Bernoulli needs. A softmax has one number for each "
                "grey level of each pixel.",
            ),
            (17, "That is one pixel's. The image has 64 of them, each with a softmax of its own."),
            (2, "Two is the size of z, which goes *into* the network."),
            (
                64 * 16,
                "There are 17 grey levels, 0 to 16. (16 numbers would be enough, for the "
                "probabilities sum to 1; the code computes all 17.)",
            ),
        ],
        otherwise="How many numbers does one pixel's softmax need, and how many pixels are there?",
        tolerance=1e-9,
    ),
]
