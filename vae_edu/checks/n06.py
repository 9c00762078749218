"""The exercises of notebook 06, training a VAE."""

import math

import torch

from vae_edu.checks import Exercise


def _loss_gives(expected: float):
    """Whether a loss function gives this number on two images with known terms."""
    reconstruction, kl = torch.tensor([-20.0, -30.0]), torch.tensor([2.0, 4.0])
    return lambda loss: math.isclose(float(loss(reconstruction, kl)), expected, rel_tol=1e-4)


def _std_gives(expected):
    log_var = torch.tensor([-2.0, 0.0, 1.5])
    return lambda std: torch.allclose(
        torch.as_tensor(std(log_var)), torch.as_tensor(expected(log_var)), atol=1e-4
    )


EXERCISES = [
    Exercise(
        todo="Give a number of nats: log p(x|z) of one image of 64 pixels.",
        right=64 * math.log(0.9),
        why="The pixels are independent given z, so probabilities multiply and logarithms add: "
        "64 times log 0.9.",
        wrong=[
            (math.log(0.9), "You averaged over pixels: that is one pixel's log-probability. A "
             "likelihood is of the whole image, so sum over its 64 pixels."),
            (0.9**64, "That is the probability itself; its natural logarithm is asked for."),
            (-64 * math.log(0.9), "The sign: the logarithm of a probability is negative. (Minus "
             "log p is the loss.)"),
            (64 * math.log2(0.9), "That is in bits, the logarithm to base 2; a nat is the unit of "
             "the natural logarithm."),
        ],
        otherwise="Each pixel contributes the logarithm of its probability; add up 64 of them.",
    ),
    Exercise(
        todo="Write a function std(log_var) that returns the standard deviation.",
        right=_std_gives(lambda v: torch.exp(0.5 * v)),
        why="The variance is exp(log_var), and the standard deviation is its square root.",
        wrong=[
            (_std_gives(torch.exp), "exp(log_var) is the variance. Used as the width, it makes the "
             "draws of z disagree with the KL, which still takes log_var for a log-variance."),
            (_std_gives(lambda v: v), "That is the logarithm itself, which can be negative; a "
             "width can't."),
            (_std_gives(lambda v: torch.exp(2 * v)), "You doubled the logarithm: that squares the "
             "variance. A square root halves it."),
        ],
        otherwise="log_var is the logarithm of σ²; you want σ.",
    ),
    Exercise(
        todo="Write a function loss(reconstruction, kl) of two tensors [N] that returns a number.",
        right=_loss_gives(28.0),
        why="Minus the ELBO of each image, averaged over the batch.",
        wrong=[
            (_loss_gives(-28.0), "That is the ELBO; an optimizer makes the loss small, so the loss "
             "is minus the ELBO."),
            (_loss_gives(56.0), "You summed over the batch: twice as many images would then give "
             "twice the step. Average over the batch (the sum is over pixels)."),
            (_loss_gives(22.0), "You subtracted the KL from minus the reconstruction: that rewards "
             "a q far from the prior. The ELBO is reconstruction minus KL; take minus all of it."),
        ],
        otherwise="The ELBO of an image is its reconstruction minus its KL.",
    ),
    Exercise(
        todo='Answer "mean" or "draw".',
        right="mean",
        why="Those are the probabilities π, parameters of the distribution; a draw would toss a "
        "coin with each of them.",
        wrong=[
            ("draw", "You took the decoder's output for a sample. It is a parameter of p(x|z); a "
             "sample of black-or-white pixels has no greys."),
        ],
        otherwise='The answer is one word, "mean" or "draw".',
    ),
    Exercise(
        todo="Give a number of nats.",
        right=1.7,
        why="The gap between log p(x) and the ELBO is that divergence, whatever the model.",
        wrong=[
            (-1.7, "The sign: log p(x) is the larger of the two, and a divergence is never "
             "negative."),
            (3.2, "That is the KL from q to the *prior*, a part of the ELBO. The gap is the KL "
             "from q to the *posterior*."),
        ],
        otherwise="log p(x) - ELBO = KL(q(z|x) || p(z|x)).",
    ),
]  # fmt: skip
