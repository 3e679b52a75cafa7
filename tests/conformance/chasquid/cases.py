"""Reads cases.toml, the list of chasquid's checkable behaviours."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import assert_never

PAGE = Path(__file__).with_name("cases.toml")


class Kind(StrEnum):
    SAME = "C"
    BETTER = "B"
    RELEVO_DECIDES = "R"


class Milestone(StrEnum):
    MAIN_JOB = "main-job"
    HOOKS_CONTRACT = "hooks-contract"
    UNBREAKABLE = "unbreakable"
    OUTBOUND = "outbound"
    MAIL_AUTHENTICATION = "mail-authentication"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row of the page."""

    id: str
    kind: Kind
    milestone: Milestone
    input: str
    expected: str
    reason: str = ""  # R: the RFC section or decision behind relevo's own behaviour
    newer_than_debian: bool = False  # chasquid 1.18 shows it, Debian's 1.11 does not
    not_observable: str = ""  # why the installed chasquid cannot be asked

    def __post_init__(self) -> None:
        if self.kind is Kind.RELEVO_DECIDES and not self.reason:
            raise ValueError(f"{self.id}: an R row needs its reason")
        if self.newer_than_debian and self.kind is not Kind.SAME:
            raise ValueError(f"{self.id}: only a C row can be newer than Debian's chasquid")

    def is_shown_by_debian(self) -> bool:
        """Must the tests of this row pass on the installed chasquid too?"""
        match self.kind:
            case Kind.SAME:
                return not self.newer_than_debian and not self.not_observable
            case Kind.BETTER | Kind.RELEVO_DECIDES:
                return False
            case _:
                assert_never(self.kind)


@dataclass(frozen=True, slots=True)
class Page:
    """All rows by id, and the milestones whose rows must have tests."""

    cases: dict[str, Case]
    finished: frozenset[Milestone]

    def due(self) -> list[Case]:
        return [case for case in self.cases.values() if case.milestone in self.finished]


@functools.cache
def load() -> Page:
    """Raises TypeError or ValueError for a malformed row."""
    document = tomllib.loads(PAGE.read_text())
    cases = {
        case_id: Case(
            id=case_id,
            **{**row, "kind": Kind(row["kind"]), "milestone": Milestone(row["milestone"])},
        )
        for case_id, row in document["cases"].items()
    }
    return Page(cases, frozenset(Milestone(name) for name in document["finished"]))
