"""The exercises of notebook 01, the prior."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Normal, Uniform

from vae_edu.checks import Exercise

_Z = torch.linspace(-2.5, 2.5, 21)
_PHI = Normal(0.0, 1.0).cdf(_Z)


def _values(answer: Any) -> Tensor | None:
    """The reader's function on a few z, or None if the answer is no such function."""
    if not callable(answer):
        return None
    values = answer(_Z.clone())
    return values if isinstance(values, Tensor) and values.shape == _Z.shape else None


def _gives(*expected: Tensor) -> Callable[[Any], bool]:
    """Whether the reader's function gives one of these at `_Z`."""

    def matches(answer: Any) -> bool:
        values = _values(answer)
        return values is not None and any(
            torch.allclose(values.to(e), e, rtol=0, atol=1e-3) for e in expected
        )

    return matches


def _returns_nothing(answer: Any) -> bool:
    if not callable(answer):
        return False
    values = answer(_Z.clone())
    return values is None or values is ...


def _stays_inside(answer: Any) -> bool:
    values = _values(answer)
    return values is not None and bool((values.abs() <= 1).all())


def _leaves(answer: Any) -> bool:
    values = _values(answer)
    return values is not None and bool((values.abs() > 1).any())


EXERCISES = [
    Exercise(
        todo="Give the height of the density as a number; the area below it must be 1.",
        right=float(Uniform(0.0, 0.1).log_prob(torch.tensor(0.05)).exp()),
        why="Height times width is 10 × 0.1 = 1. A density is per unit of z, so it can exceed 1; "
        "only the area, a probability, can't.",
        wrong=[
            (
                1.0,
                "You took the density for a probability. 1 is the area below the curve; the "
                "interval is only 0.1 wide, so how high must the curve be?",
            ),
            (0.1, "That is the width of the interval. The density is the height: 1 / width."),
            (math.log(10), "That is the log-density, in nats. The question is about the density."),
            (
                0.0,
                "It is true that a single point has probability 0, but a density is not a "
                "probability: it is a probability per unit of z.",
            ),
        ],
        otherwise="All of the area, 1, lies over an interval that is 0.1 wide.",
    ),
    Exercise(
        todo="Write a function that takes a tensor z and returns a tensor of the same shape.",
        right=_gives(2 * _PHI - 1, 1 - 2 * _PHI),
        why="Φ(z) is uniform on [0, 1]; times 2, less 1, it is uniform on [-1, 1]. (Mirrored, "
        "1 - 2Φ(z), it is as good.)",
        wrong=[
            (_returns_nothing, "Your function returns nothing yet: it needs a `return`."),
            (
                _gives(_PHI, 1 - _PHI),
                "Φ(z) is uniform, but on [0, 1]: stretch it to twice the width and shift it.",
            ),
            (_gives(2 * _PHI), "That is uniform on [0, 2]: it still has to be shifted."),
            (_gives(_PHI - 0.5), "That is uniform on [-0.5, 0.5]: it still has to be stretched."),
            (
                _gives(_Z.clamp(-1, 1)),
                "You cut off the ends: all draws beyond 1 pile up exactly at "
                "1, and between the ends the bell is still a bell. Being in the right interval is "
                "not being uniform on it.",
            ),
            (
                _stays_inside,
                "Your values are in the right interval, but being in an interval is "
                "not being uniform on it: a squashed bell need not be flat. Which function says "
                "what share of the draws lies below z?",
            ),
            (
                _leaves,
                "Some of your values lie outside [-1, 1]: stretching or shifting a bell "
                "leaves it a bell, with tails that never end. Begin with the CDF.",
            ),
        ],
        otherwise="The answer is a function: it takes a tensor z and returns a tensor of the same "
        "shape.",
    ),
    Exercise(
        todo="Give the number of clumps: each of the 4 knobs throws a die of its own.",
        right=3**4,
        why="Each of the 4 knobs picks one of 3 on its own: 3 × 3 × 3 × 3 = 81 combinations. A "
        "joint mixture throws one die for all knobs and has 3.",
        wrong=[
            (
                3,
                "That is the joint mixture: one die for all knobs. Here each knob throws its own, "
                "so every combination happens: a product of mixtures is not a mixture of products.",
            ),
            (3 * 4, "You added where choices multiply: each clump of knob 1 meets each of knob 2."),
            (
                4**3,
                "Base and exponent are swapped: it is (clumps per knob) to the power of "
                "(number of knobs).",
            ),
        ],
        otherwise="Count for 2 knobs first, in the figure, then let a third knob pick as well.",
    ),
    Exercise(
        todo='Answer "a", "b", "c" or "d", as text.',
        right="b",
        why="Φ⁻¹ turns the uniform u into a standard normal z, and f takes it from there. The "
        "change of prior is absorbed into the decoder.",
        wrong=[
            (
                "a",
                "Wrong way round: Φ takes a normal to a uniform. Your u is uniform already, and "
                "f needs a normal.",
            ),
            (
                "c",
                "The knob has to be re-mapped before the decoder sees it: f works on a normal z, "
                "so Φ⁻¹ comes first (innermost), not last.",
            ),
            (
                "d",
                "You took the prior for a fact about the world. It is chosen: only p(x) can be "
                "right or wrong, and another decoder gives the same p(x) from another prior.",
            ),
        ],
        otherwise='Give one of the letters as text, for example answer = "a".',
    ),
    Exercise(
        todo="Give the usual length of a draw, as a number.",
        right=math.sqrt(400),
        tolerance=0.03,
        why="Each squared knob is 1 on average, so the squared length is about 400 and the length "
        "about 20, give or take less than 1.",
        wrong=[
            (
                0.0,
                "You looked for the peak of the density. The draws are not there: near 0 there "
                "is hardly any room in 400 dimensions, and a density is not a probability.",
            ),
            (1.0, "That is the size of one knob. The length takes all 400 together."),
            (400.0, "That is the squared length: take the root."),
        ],
        otherwise="Each squared knob is 1 on average; the length is the root of their sum.",
    ),
]
