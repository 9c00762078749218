"""The checker itself, and every exercise of the course against answers of any kind."""

import math
from importlib import import_module
from pathlib import Path

import pytest
import torch

from vae_edu import checks
from vae_edu.checks import Exercise, check, find

FOLDER = Path(checks.__file__).parent
NAMES = [
    f"{path.stem[1:]}.{number + 1}"
    for path in sorted(FOLDER.glob("n*.py"))
    for number in range(len(import_module(f"vae_edu.checks.{path.stem}").EXERCISES))
]
ODD = [
    *("abc", "", 1e300, math.nan, -1, True, [], {}, [1, 2], torch.zeros(3), object(), int, print),
    *(lambda: 1, lambda a, b, c, d: None),
]


@pytest.mark.parametrize("name", NAMES)
def test_an_unanswered_exercise_says_what_to_do(name, capsys):
    check(name)
    check(name, None)
    assert capsys.readouterr().out.count("Not answered yet. ") == 2


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("answer", ODD, ids=lambda answer: type(answer).__name__)
def test_no_answer_raises(name, answer):
    verdict = find(name).judge(answer)
    assert verdict.kind in ("right", "wrong")
    assert len(verdict.message) > 10


@pytest.mark.parametrize("name", ["", "6", "06", "06.0", "06.99", "77.1", "x.y"])
def test_an_unknown_exercise_is_told(name):
    with pytest.raises(ValueError, match="no exercise"):
        find(name)


def test_targets_are_numbers_texts_or_predicates():
    number = Exercise(todo="", right=100.0, why="", wrong=[(lambda a: a > 200, "large")])
    assert number.judge(100.5).kind == "right"
    assert number.judge(torch.tensor(100.0)).kind == "right"
    assert number.judge(102).kind == "wrong"
    assert "large" in number.judge(300).message
    text = Exercise(todo="", right="Prior", why="")
    assert text.judge(" prior ").kind == "right"
    assert text.judge("posterior").kind == "wrong"
    yes = Exercise(todo="", right=True, why="")
    assert yes.judge(True).kind == "right"
    assert yes.judge(1).kind == "wrong"


def test_a_failing_function_is_told_with_its_error():
    exercise = Exercise(todo="Write f(x).", right=lambda f: f(2) == 4, why="")
    assert exercise.judge(lambda x: x**2).kind == "right"
    message = exercise.judge(lambda x, y: x).message
    assert "TypeError" in message and "Write f(x)." in message
