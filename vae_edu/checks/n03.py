"""Exercises of notebook 03, the marginal and the posterior."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from vae_edu.checks import Exercise
from vae_edu.models import LinearGaussian

# 03.1: the dial. The three positions of the notebook, and two tiles from one of them.
PRIOR = torch.tensor([0.5, 0.3, 0.2])
WHITE = torch.tensor([0.1, 0.5, 0.9])
PAIR = WHITE * (1 - WHITE)  # p(white, then black | z)


def _dark(prior: Tensor, likelihood: Tensor) -> float:
    joint = prior * likelihood
    return float(joint[0] / joint.sum())


def _nothing(answer: object) -> bool:
    return answer is ... or answer is None


# 03.2: a function of (x, a, sigma) that gives two numbers.
CASES = [(1.2, 1.5, 0.6), (-0.7, 3.0, 0.25), (2.0, -0.8, 1.3)]


def _closed_form(x: float, a: float, sigma: float) -> tuple[float, float]:
    model = LinearGaussian(torch.tensor([[a]]), torch.zeros(1), sigma)
    posterior = model.posterior(torch.tensor([x]))
    return float(posterior.mean), float(posterior.stddev)


def _gives(formula: Callable) -> Callable[[Callable], bool]:
    """Whether a function gives the same mean and standard deviation as `formula`."""

    def matches(function: Callable) -> bool:
        for case in CASES:
            answer = function(*case)
            if _nothing(answer):
                return False
            mean, std = answer
            if not all(
                math.isclose(float(a), b, rel_tol=1e-3, abs_tol=1e-6)
                for a, b in zip((mean, std), formula(*case), strict=True)
            ):
                return False
        return True

    return matches


# 03.3: a set of letters.
def _letters(answer: object) -> set[str]:
    text = answer if isinstance(answer, str) else "".join(map(str, answer))
    return {letter for letter in text.upper().replace("AND", "") if letter.isalpha()}


def _has(letter: str) -> Callable[[object], bool]:
    return lambda answer: letter in _letters(answer)


def _lacks(letter: str) -> Callable[[object], bool]:
    return lambda answer: letter not in _letters(answer)


# 03.4: a function of log-likelihoods [n].
LOGS = [
    torch.tensor([-1.0, -2.0, -4.0, -7.5]),
    torch.tensor([-1000.0, -1001.0, -1003.0]),
    torch.tensor([-90.0, -3.0]),
]


def _estimates(formula: Callable, which: slice = slice(None)) -> Callable[[Callable], bool]:
    """Whether a function gives the same numbers as `formula` on these rows of LOGS."""

    def matches(function: Callable) -> bool:
        for row in LOGS[which]:
            answer = function(row.clone())
            if _nothing(answer):
                return False
            if not math.isclose(float(answer), float(formula(row)), rel_tol=1e-4):
                return False
        return True

    return matches


def _log_mean(row: Tensor) -> Tensor:
    return row.logsumexp(0) - math.log(len(row))


def _plain_log_mean(row: Tensor) -> Tensor:
    return row.exp().mean().log()


# 03.5
FACTOR, LATENTS, ERROR = 3, 10, 0.1
NEEDED = (FACTOR**LATENTS - 1) / ERROR**2

EXERCISES: list[Exercise] = [
    Exercise(
        todo="For each position: prior times p(white | z) times p(black | z). Add up, divide.",
        right=_dark(PRIOR, PAIR),
        why="The three products 0.5 · 0.1 · 0.9, 0.3 · 0.5 · 0.5 and 0.2 · 0.9 · 0.1 add up to "
        "p(white, then black); the first one's share of that sum is the posterior of dark.",
        wrong=[
            (
                float(PAIR[0]),
                "That is p(white, then black | dark), the likelihood: how often a *dark* dial "
                "gives such a pair. Asked is p(dark | white, then black): the condition is "
                "turned round.",
            ),
            (
                float(PRIOR[0] * PAIR[0]),
                "That is the joint, p(dark, and white, then black). Divide it by the marginal: you "
                "know which tiles came.",
            ),
            (
                float(PAIR[0] / PAIR.sum()),
                "You left out the prior: you divided the likelihood by its own sum, as if the "
                "three positions were equally frequent.",
            ),
            (
                _dark(PRIOR**2, PAIR),
                "You counted the prior twice: the product of two posteriors holds it two times. "
                "The dial was set once, so the prior comes in once.",
            ),
            (
                (_dark(PRIOR, WHITE) + _dark(PRIOR, 1 - WHITE)) / 2,
                "You averaged the posteriors of the two tiles. Knowledge from several tiles is not "
                "averaged: their likelihoods multiply.",
            ),
            (
                _dark(PRIOR, WHITE),
                "That is the posterior of dark after the white tile alone. A black one came, too.",
            ),
            (
                _dark(PRIOR, 1 - WHITE),
                "That is the posterior of dark after the black tile alone. A white one came, too.",
            ),
            (
                float(PRIOR[0]),
                "That is the prior. A white and a black tile do not cancel: a medium dial gives "
                "such a pair more often than the others.",
            ),
            (
                float((PRIOR * PAIR).sum()),
                "That is the marginal p(white, then black): what you divide by.",
            ),
        ],
        otherwise="Three lines: multiply (prior × p(white | z) × p(black | z)), add up, divide.",
        tolerance=0.015,
    ),
    Exercise(
        todo="Return two numbers, mean and standard deviation: `return mean, std`.",
        right=_gives(_closed_form),
        why="It equals models.LinearGaussian for several x, a and sigma: precision 1 + a²/σ², and "
        "mean = variance · a·x/σ².",
        wrong=[
            (
                lambda function: _nothing(function(*CASES[0])),
                "The function still returns nothing. Make it return two numbers, the mean and the "
                "standard deviation: `return mean, std`.",
            ),
            (
                _gives(lambda x, a, s: (_closed_form(x, a, s)[0], _closed_form(x, a, s)[1] ** 2)),
                "The second number is the variance; the standard deviation is its square root.",
            ),
            (
                _gives(lambda x, a, s: (_closed_form(x, a, s)[0], _closed_form(x, a, s)[1] ** -2)),
                "The second number is the precision, 1 / variance; the standard deviation is "
                "1 / √precision.",
            ),
            (
                _gives(lambda x, a, s: (x / a, s / abs(a))),
                "You left out the prior: x / a is where the *likelihood* is largest. The prior's "
                "-z²/2 adds 1 to the precision and pulls the mean towards 0.",
            ),
            (
                _gives(lambda x, a, s: (0.0, math.sqrt(a * a + s * s))),
                "That is the marginal p(x): what is known of x before it is seen. Asked is "
                "p(z | x), what is known of z afterwards.",
            ),
            (
                _gives(lambda x, a, s: (a * x, s)),
                "That is the likelihood's form, with x put in the place of z: the condition is "
                "turned round.",
            ),
        ],
        otherwise="Read off the parabola: 1/v = 1 + a²/σ² and m/v = a·x/σ²; return m and √v.",
    ),
    Exercise(
        todo='Letters as text, for instance "BE".',
        right=lambda answer: _letters(answer) == {"A", "D"},
        why="In A and D the means are straight lines in z and the σ is constant, so log p(x|z) is "
        "a parabola in z; a sum of three parabolas is one, too.",
        wrong=[
            (
                lambda answer: not _letters(answer) or not _letters(answer) <= set("ABCDE"),
                "The answer is made of the letters A to E.",
            ),
            (
                _has("B"),
                "B is conjugate only if the *family* were enough. Its family is Gaussian, but its "
                "mean is bent: (x - z - 0.1 z²)² holds a z⁴, so the logarithm is no parabola in z.",
            ),
            (
                _has("C"),
                "In C the mean is straight, but σ changes with z: -log σ(z) - (x - z)² / 2σ(z)² is "
                "no parabola in z. A straight mean is needed *and* a constant σ.",
            ),
            (
                _has("E"),
                "In E the *logit* is straight, not the mean, and the family is a coin: "
                "log p(x=1|z) = -log(1 + exp(-z)) is no parabola. A coin is conjugate to a Beta "
                "prior on its probability itself, not to a normal prior on z.",
            ),
            (
                _lacks("A"),
                "A is missing: an offset such as -1 leaves a straight line straight.",
            ),
            (
                _lacks("D"),
                "D is missing: independent pixels add their logarithms, and a sum of parabolas in "
                "z is a parabola. This is LinearGaussian with D = 3.",
            ),
        ],
    ),
    Exercise(
        todo="Return one number: the logarithm of the average of the probabilities.",
        right=_estimates(_log_mean),
        why="logsumexp(log_p) - log n is the log of the average, and it takes out the largest "
        "term first, so that nothing underflows.",
        wrong=[
            (
                lambda function: _nothing(function(LOGS[0])),
                "The function still returns nothing. Make it return one number, the logarithm of "
                "the average of the probabilities.",
            ),
            (
                _estimates(lambda row: row.mean()),
                "You averaged the logarithms. The average of logs is not the log of the average: "
                "by Jensen's inequality it is lower, and a few bad draws drag it down without "
                "limit.",
            ),
            (
                _estimates(lambda row: row.logsumexp(0)),
                "That is the log of the *sum*: subtract log n to make it the log of the average.",
            ),
            (
                _estimates(_plain_log_mean, slice(0, 1)),
                "Right in mathematics, but exp(-1000) underflows to 0 in a computer and its "
                "logarithm is -infinity. Take logsumexp, which sets the largest term aside first.",
            ),
            (
                _estimates(lambda row: row.exp().mean(), slice(0, 1)),
                "That is the average itself; asked is its logarithm.",
            ),
        ],
        otherwise="p̂ = (1/n) Σ exp(log_p); return log p̂, computed with logsumexp.",
    ),
    Exercise(
        todo="Solve 0.1 = √((R - 1) / n) for n, with the R of all ten latents together.",
        right=NEEDED,
        why="R = 3¹⁰, and n = (R - 1) / 0.1²: millions of draws for a mere ten latents.",
        wrong=[
            (
                (FACTOR * LATENTS - 1) / ERROR**2,
                "You added the factors: ten independent latents *multiply* theirs, so R = 3¹⁰, "
                "not 30. That is why the growth is exponential.",
            ),
            (
                (FACTOR**LATENTS - 1) / ERROR,
                "You forgot the square: the error falls as 1/√n, so a tenth of it takes a hundred "
                "times the draws, not ten.",
            ),
            (
                LATENTS * (FACTOR - 1) / ERROR**2,
                "You added up what each latent needs on its own: the R of independent latents "
                "multiply, R = 3¹⁰.",
            ),
            (
                (FACTOR - 1) / ERROR**2,
                "That is for one latent. With ten, R is 3¹⁰.",
            ),
            (
                float(FACTOR**LATENTS),
                "That is R, about the number of draws for an error as large as p(x) itself.",
            ),
        ],
        tolerance=0.0001,
    ),
]
