"""Right and wrong answers to the exercises of notebook 08, the posterior microscope."""

import math

import torch

LINE = torch.zeros(8, 8, dtype=torch.long)
LINE[:, 0] = 16
HALF = torch.zeros(8, 8, dtype=torch.long)
HALF[:, 7] = 16
BLANK = [0] * 64
WHITE = [16] * 64

LOG_W = torch.tensor([-20.0, -22.0, -19.0, -31.0])
LOG_SUM = torch.logsumexp(LOG_W, 0)

GAP = -0.5 * math.log(1 - 0.8**2)

RIGHT = [
    ("08.1", GAP),
    ("08.1", torch.tensor(0.51)),
    ("08.2", LOG_SUM - math.log(4)),
    ("08.2", -20.04),
    ("08.3", "b"),
    ("08.3", " B "),
    ("08.4", "flat"),
    ("08.5", LINE.flatten().tolist()),
    ("08.5", LINE),
]

WRONG = [
    ("08.1", 0, "lacks that shape"),
    ("08.1", 1 / (1 - 0.8**2) - 1 + 0.5 * math.log(1 - 0.8**2), "own widths"),
    ("08.1", 2 * GAP, "forgot a half"),
    ("08.1", -GAP, "never negative"),
    ("08.1", 7, "diagonal of the inverse covariance"),
    ("08.2", LOG_W.mean(), "averaged the logarithms"),
    ("08.2", LOG_SUM, "*sum*"),
    ("08.2", -19.0, "best dart"),
    ("08.2", LOG_W.exp().mean(), "average weight"),
    ("08.2", LOG_SUM + math.log(4), "subtracts"),
    ("08.2", 7, "torch.logsumexp of the four"),
    ("08.3", "a", "one throw"),
    ("08.3", "c", "more darts"),
    ("08.3", "d", "one letter"),
    ("08.4", "hill", "wanders"),
    ("08.4", "ears", "overconfident"),
    ("08.4", "valley", "one word"),
    ("08.5", WHITE, "less paint"),
    ("08.5", BLANK, "improbable image"),
    ("08.5", HALF, "on the way"),
]
