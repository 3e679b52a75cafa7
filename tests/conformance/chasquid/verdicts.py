"""Judges each row by what its tests did in both columns; pure, `scripts/conformance_table.py` runs.

A C row must pass on both (a row newer than Debian's chasquid: on relevo), a B row must pass on
relevo and fail on chasquid, an R row must pass on relevo.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypedDict, assert_never

from conformance.chasquid.cases import Case, Kind, Page
from conformance.chasquid.servers import Column


class Outcome(TypedDict):
    """One test, as `--outcomes` writes it."""

    test: str
    cases: list[str]
    column: str
    outcome: str
    marks: list[str]


class Result(StrEnum):
    """What all tests of one row did in one column."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    NOT_RUN = "-"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the page with its results."""

    case: Case
    relevo: Result
    chasquid: Result

    def complaint(self) -> str:
        """What is wrong with it; empty when the row is as its kind says."""
        if self.relevo is not Result.PASSED:
            return f"relevo: {self.relevo}"
        if self.case.not_observable:
            return ""
        match self.case.kind:
            case Kind.SAME if not self.case.newer_than_debian:
                return self._chasquid_unlike(Result.PASSED)
            case Kind.BETTER:
                return self._chasquid_unlike(Result.FAILED)
            case Kind.SAME | Kind.RELEVO_DECIDES:
                return ""
            case _:
                assert_never(self.case.kind)

    def _chasquid_unlike(self, expected: Result) -> str:
        if self.chasquid is expected:
            return ""
        if self.chasquid is Result.SKIPPED:
            return "chasquid is not installed"
        return f"chasquid: {self.chasquid}, {expected} expected"

    def remark(self) -> str:
        """What a reader of a right row should know."""
        if self.case.newer_than_debian:
            surprise = ", and yet passed" if self.chasquid is Result.PASSED else ""
            return f"newer than Debian's chasquid{surprise}"
        return self.case.not_observable or self.case.reason


def combine(outcomes: Iterable[str]) -> Result:
    """One failed test fails the row; a row whose tests were skipped has not passed."""
    seen = set(outcomes)
    for result in (Result.FAILED, Result.SKIPPED, Result.PASSED):
        if result.value in seen:
            return result
    return Result.NOT_RUN


def judge(page: Page, outcomes: Sequence[Outcome]) -> list[Row]:
    """The rows of finished milestones, and those that have a test already."""
    seen: dict[tuple[str, str], list[str]] = {}
    for outcome in outcomes:
        for case_id in outcome["cases"]:
            seen.setdefault((case_id, outcome["column"]), []).append(outcome["outcome"])

    def result(case: Case, column: Column) -> Result:
        return combine(seen.get((case.id, column.value), ()))

    return [
        Row(case, result(case, Column.RELEVO), result(case, Column.CHASQUID))
        for case in page.cases.values()
        if case.milestone in page.finished or (case.id, Column.RELEVO.value) in seen
    ]
