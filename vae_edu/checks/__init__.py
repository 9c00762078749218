"""Exercises that name the misconception behind a wrong answer.

A notebook calls `check("02.1", answer)`. The exercises of notebook 02 are the `EXERCISES` of the
module `vae_edu.checks.n02`, in order.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple

import torch

Target = Any | Callable[[Any], bool]


@dataclass(frozen=True)
class Exercise:
    """One exercise: a right answer, and hints for the wrong answers that people give.

    A target is a value (compared as a number within `tolerance`, relative, or as text without
    regard to case) or a function of the answer that says whether it matches. `wrong` pairs targets
    with the misconception that each betrays, most specific first.
    """

    todo: str
    right: Target
    why: str
    wrong: Sequence[tuple[Target, str]] = ()
    otherwise: str = "Read the question once more, and the section before it."
    tolerance: float = 0.01

    def judge(self, answer: Any) -> "Verdict":
        """Whether the answer is right, and what to tell whoever gave it."""
        if answer is ... or answer is None:
            return Verdict("unanswered", f"Not answered yet. {self.todo}")
        try:
            if self._matches(answer, self.right):
                return Verdict("right", f"Right. {self.why}")
            for target, hint in self.wrong:
                if self._matches(answer, target):
                    return Verdict("wrong", f"Not yet. {hint}")
        except Exception as error:  # an answer can be any object, or a function that fails
            return Verdict(
                "wrong", f"Your answer raised {type(error).__name__}: {error}. {self.todo}"
            )
        return Verdict("wrong", f"Not yet. {self.otherwise}")

    def _matches(self, answer: Any, target: Target) -> bool:
        if callable(target):
            return bool(target(answer))
        if isinstance(target, str):
            return isinstance(answer, str) and answer.strip().casefold() == target.casefold()
        if isinstance(target, bool) or isinstance(answer, str | bool):
            return answer is target
        if isinstance(answer, torch.Tensor) and answer.numel() != 1:
            return False
        return math.isclose(float(answer), float(target), rel_tol=self.tolerance, abs_tol=1e-6)


class Verdict(NamedTuple):
    """kind is "right", "wrong" or "unanswered"."""

    kind: str
    message: str


def find(name: str) -> Exercise:
    """The exercise called "02.1": the first of notebook 02."""
    try:
        notebook, number = name.split(".")
        exercises = import_module(f"vae_edu.checks.n{notebook}").EXERCISES
        return dict(enumerate(exercises, 1))[int(number)]
    except (ValueError, KeyError, ModuleNotFoundError) as error:
        raise ValueError(f"there is no exercise {name!r}; names are like '02.1'") from error


def check(name: str, answer: Any = ...) -> None:
    """Print what is to be said of an answer. It never raises, so *Run All* runs through."""
    print(f"Exercise {name}: {find(name).judge(answer).message}")
