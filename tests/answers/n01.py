"""Right and wrong answers to the exercises of notebook 01, the prior."""

import math

import torch
from torch.distributions import Normal

normal = Normal(0.0, 1.0)

RIGHT = [
    ("01.1", 10),
    ("01.1", torch.tensor(10.0)),
    ("01.2", lambda z: 2 * normal.cdf(z) - 1),
    ("01.2", lambda z: 1 - 2 * normal.cdf(z)),
    ("01.2", lambda z: torch.erf(z.double() / math.sqrt(2))),
    ("01.3", 81),
    ("01.4", " B "),
    ("01.5", 20),
    ("01.5", 400**0.5),
]

WRONG = [
    ("01.1", 1, "density for a probability"),
    ("01.1", 0.1, "the width of the interval"),
    ("01.1", 2.303, "log-density"),
    ("01.1", 0, "a single point has probability 0"),
    ("01.1", 7, "All of the area"),
    ("01.2", lambda z: None, "returns nothing"),
    ("01.2", lambda z: ..., "returns nothing"),
    ("01.2", normal.cdf, "uniform, but on [0, 1]"),
    ("01.2", lambda z: 2 * normal.cdf(z), "uniform on [0, 2]"),
    ("01.2", lambda z: normal.cdf(z) - 0.5, "uniform on [-0.5, 0.5]"),
    ("01.2", lambda z: z.clamp(-1, 1), "pile up"),
    ("01.2", torch.tanh, "a squashed bell need not be flat"),
    ("01.2", lambda z: z / 2, "lie outside [-1, 1]"),
    ("01.2", 7, "answer is a function"),
    ("01.3", 3, "joint mixture"),
    ("01.3", 12, "added where choices multiply"),
    ("01.3", 64, "Base and exponent are swapped"),
    ("01.3", 7, "let a third knob pick"),
    ("01.4", "a", "Wrong way round"),
    ("01.4", "c", "before the decoder sees it"),
    ("01.4", "d", "a fact about the world"),
    ("01.4", "e", "one of the letters"),
    ("01.5", 0, "peak of the density"),
    ("01.5", 1, "the size of one knob"),
    ("01.5", 400, "the squared length"),
    ("01.5", 7, "root of their sum"),
]
