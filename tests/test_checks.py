"""The checker itself, and every exercise of the course: right, wrong, odd and missing answers.

`answers/nNN.py` holds, for notebook NN, the right answers `RIGHT` and with `WRONG` the mistakes
that people make, each with words of the hint that it must meet.
"""

import math
from importlib import import_module
from pathlib import Path

import pytest
import torch

from vae_edu import checks
from vae_edu.checks import Exercise, check, find

NOTEBOOKS = [path.stem for path in sorted(Path(checks.__file__).parent.glob("n*.py"))]
NAMES = [
    f"{notebook[1:]}.{number}"
    for notebook in NOTEBOOKS
    for number, _ in enumerate(import_module(f"vae_edu.checks.{notebook}").EXERCISES, start=1)
]
ANSWERS = [import_module(f"answers.{notebook}") for notebook in NOTEBOOKS]
RIGHT = [case for answers in ANSWERS for case in answers.RIGHT]
WRONG = [case for answers in ANSWERS for case in answers.WRONG]


def two(first, second):
    return first


def raising(*arguments):
    raise RuntimeError("my code is broken")


ODD = [
    *("abc", "", 1e300, -1e300, 10**400, 1e400, math.nan, 1j, True, False, object(), torch, print),
    *([], {}, [1, 2], [17] * 64, {"the next word of a sentence": None}),
    *(torch.tensor([]), torch.zeros(3), torch.ones(5)),
    *(lambda: 1, lambda a, b, c, d: None, lambda z: z[0], lambda z: z * math.nan, two, raising),
    *(lambda *a: None, lambda *a: "text", lambda *a: [1.0], lambda *a: torch.ones(5)),
    *(lambda *a: math.nan, lambda x, mean, sigma: x.reshape(7)),
]


def ids(cases) -> list[str]:
    return [f"{case[0]}-{number}" for number, case in enumerate(cases)]


@pytest.mark.parametrize(("name", "answer"), RIGHT, ids=ids(RIGHT))
def test_right_answers_are_accepted(name, answer):
    verdict = find(name).judge(answer)
    assert verdict.kind == "right", verdict.message


@pytest.mark.parametrize(("name", "answer", "hint"), WRONG, ids=ids(WRONG))
def test_mistakes_meet_their_hint(name, answer, hint):
    verdict = find(name).judge(answer)
    assert verdict.kind == "wrong"
    assert hint in verdict.message


@pytest.mark.parametrize("name", NAMES)
def test_every_hint_is_tried_and_every_exercise_can_be_solved(name):
    exercise = find(name)
    said = {exercise.judge(answer).message for other, answer, _ in WRONG if other == name}
    hints = [hint for _, hint in exercise.wrong]
    if exercise.otherwise != Exercise.otherwise:  # the default may be out of reach
        hints.append(exercise.otherwise)
    assert [hint for hint in hints if f"Not yet. {hint}" not in said] == []
    assert name in {other for other, _ in RIGHT}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("answer", [..., None], ids=["dots", "none"])
def test_an_unanswered_exercise_says_what_to_do(name, answer, capsys):
    check(name, answer)
    said = capsys.readouterr().out
    assert said == f"Exercise {name}: Not answered yet. {find(name).todo}\n"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("answer", ODD, ids=[f"odd{number}" for number in range(len(ODD))])
def test_an_odd_answer_is_wrong_and_never_raises(name, answer):
    verdict = find(name).judge(answer)
    assert verdict.kind == "wrong"
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
