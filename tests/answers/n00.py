"""Right and wrong answers to the exercises of notebook 00, start here."""

RIGHT = [
    ("00.1", "Distribution"),
    ("00.2", ["Likelihood", "prior"]),
    ("00.3", 1088),
]

WRONG = [
    ("00.1", "network", "list of numbers"),
    ("00.1", "both", "fixed z"),
    ("00.1", "a matrix", "draw an x"),
    ("00.2", ["prior", "posterior"], "stand-in"),
    ("00.2", ["prior", "likelihood", "marginal"], "averaged over the prior"),
    ("00.2", ["prior"], "family of p(x|z)"),
    ("00.2", ["likelihood"], "prior as well"),
    ("00.2", [], "Two are chosen"),
    ("00.2", 5, "raised"),
    ("00.3", 64, "Bernoulli"),
    ("00.3", 17, "one pixel's"),
    ("00.3", 2, "size of z"),
    ("00.3", 1024, "0 to 16"),
    ("00.3", 10, "how many pixels"),
]
