from __future__ import annotations

import pytest

from relevo.config.problems import ConfigErrors, Problem


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem("f", 3, "k", "is bad", "mend it"), "f:3: k: is bad (mend it)"),
        (Problem("f", 3, "", "is bad"), "f:3: is bad"),
        (Problem("f", 0, "k", "is bad"), "f: k: is bad"),
        (Problem("f", 0, "", "is bad"), "f: is bad"),
    ],
)
def test_a_problem_says_what_it_knows(problem: Problem, text: str) -> None:
    assert str(problem) == text


def test_errors_say_one_problem_a_line() -> None:
    errors = ConfigErrors([Problem("f", 1, "a", "x"), Problem("f", 2, "b", "y")])
    assert len(errors.problems) == 2
    assert str(errors) == "f:1: a: x\nf:2: b: y"
