"""Every row of a finished milestone has a test that can fail, and the page itself is sound."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conformance.chasquid import cases
from conformance.chasquid.cases import Kind

SUITE = Path(__file__).parent
NEVER_ON_A_ROW = {"skip", "skipif", "xfail"}
ROWS_A_LETTER = {"S": 50, "D": 25, "A": 54, "Q": 32, "C": 20, "H": 52}
MOST_DECIDED_BY_RELEVO = 6 + 5  # those of the page, and five more at most


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """All tests of the suite, collected apart, whatever part of it runs now."""
    path = tmp_path_factory.mktemp("collected") / "outcomes.json"
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", f"--outcomes={path}"]
    result = subprocess.run(
        [*command, str(SUITE)], capture_output=True, text=True, check=False, timeout=120
    )
    assert result.returncode == 0, result.stdout + result.stderr
    tests: list[dict[str, Any]] = json.loads(path.read_text())
    return tests


@pytest.mark.parametrize(("letter", "count"), ROWS_A_LETTER.items())
def test_page_has_all_rows(letter: str, count: int) -> None:
    numbers = sorted(int(i[1:]) for i in cases.load().cases if i[0] == letter)
    missing = {28, 29} if letter == "A" else set()  # numbers the page never gave
    assert numbers == [n for n in range(1, max(numbers) + 1) if n not in missing]
    assert len(numbers) == count


def test_few_rows_are_decided_by_relevo_alone() -> None:
    rows = cases.load().cases.values()
    assert sum(row.kind is Kind.RELEVO_DECIDES for row in rows) <= MOST_DECIDED_BY_RELEVO


def test_every_row_of_a_finished_milestone_has_a_test(collected: list[dict[str, Any]]) -> None:
    on_relevo = {
        case_id for test in collected if test["column"] == "relevo" for case_id in test["cases"]
    }
    assert [row.id for row in cases.load().due() if row.id not in on_relevo] == []


def test_every_row_that_chasquid_shows_is_asked_of_it(collected: list[dict[str, Any]]) -> None:
    on_chasquid = {
        case_id for test in collected if test["column"] == "chasquid" for case_id in test["cases"]
    }
    due = [row.id for row in cases.load().due() if row.is_shown_by_debian()]
    assert [case_id for case_id in due if case_id not in on_chasquid] == []


def test_no_test_of_a_row_can_be_left_out_on_relevo(collected: list[dict[str, Any]]) -> None:
    left_out = [
        test["test"]
        for test in collected
        if test["column"] == "relevo"
        and test["cases"]
        and (NEVER_ON_A_ROW | {"needs_debian"}) & set(test["marks"])
    ]
    assert left_out == []
