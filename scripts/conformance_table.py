"""Runs every dialogue on relevo and on the installed chasquid and judges each row of cases.toml.

    .venv/bin/python scripts/conformance_table.py [--all] [pytest arguments]

A C row must pass on both (rows newer than Debian's chasquid: on relevo), a B row must pass on
relevo and fail on chasquid, an R row must pass on relevo. Prints the table, and exits with 1 when
a row is not as its kind says. `--all` lists rows that are right too.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import assert_never

ROOT = Path(__file__).resolve().parent.parent
SUITE = ROOT / "tests" / "conformance" / "chasquid"
sys.path.insert(0, str(ROOT / "tests"))

from conformance.chasquid import cases  # noqa: E402 - the tests are no installed package
from conformance.chasquid.cases import Case, Kind  # noqa: E402

FIELD_WIDTH = 60


class Result(StrEnum):
    """What all tests of one row did in one column."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    NOT_RUN = "-"


@dataclass(frozen=True, slots=True)
class Row:
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
            case Kind.SAME:
                if self.case.newer_than_debian or self.chasquid is Result.PASSED:
                    return ""
                return f"chasquid shows something else: {self.chasquid}"
            case Kind.BETTER:
                return "" if self.chasquid is Result.FAILED else f"chasquid: {self.chasquid}"
            case Kind.RELEVO_DECIDES:
                return ""
            case _:
                assert_never(self.case.kind)

    def remark(self) -> str:
        if self.case.newer_than_debian and self.chasquid is Result.FAILED:
            return "newer than Debian's chasquid"
        if self.case.newer_than_debian:
            return "marked as newer than Debian's chasquid"
        return self.case.not_observable or self.case.reason


def combine(outcomes: list[str]) -> Result:
    """One failed test fails the row; one passed test is needed to pass it."""
    for result in (Result.FAILED, Result.SKIPPED, Result.PASSED):
        if result.value in outcomes:
            return result
    return Result.NOT_RUN


def run(arguments: list[str]) -> list[dict[str, object]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "outcomes.json"
        command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "--both"]
        subprocess.run(
            [*command, f"--outcomes={path}", str(SUITE), *arguments], cwd=ROOT, check=False
        )
        outcomes: list[dict[str, object]] = json.loads(path.read_text())
        return outcomes


def judge(outcomes: list[dict[str, object]]) -> list[Row]:
    page = cases.load()
    seen: dict[tuple[str, str], list[str]] = {}
    for outcome in outcomes:
        ids = outcome["cases"]
        assert isinstance(ids, list)
        for case_id in ids:
            key = (str(case_id), str(outcome["column"] or "relevo"))
            seen.setdefault(key, []).append(str(outcome["outcome"]))
    return [
        Row(
            case,
            combine(seen.get((case.id, "relevo"), [])),
            combine(seen.get((case.id, "chasquid"), [])),
        )
        for case in page.cases.values()
        if case.milestone in page.finished or (case.id, "relevo") in seen
    ]


def print_table(rows: list[Row], *, everything: bool) -> None:
    print(f"\n{'row':5} {'kind':4} {'relevo':8} {'chasquid':8} verdict")
    for row in rows:
        complaint = row.complaint()
        if everything or complaint:
            verdict = f"WRONG  {complaint}" if complaint else f"ok     {row.remark()}"
            print(f"{row.case.id:5} {row.case.kind:4} {row.relevo:8} {row.chasquid:8} {verdict}")
            if complaint:
                print(f"{'':28}{row.case.input[:FIELD_WIDTH]} → {row.case.expected[:FIELD_WIDTH]}")
    for kind in Kind:
        of_kind = [row for row in rows if row.case.kind is kind]
        right = sum(not row.complaint() for row in of_kind)
        print(f"{kind}: {right} of {len(of_kind)} rows are as the page says")
    newer = [row.case.id for row in rows if row.case.newer_than_debian]
    if newer:
        print(f"newer than Debian's chasquid, so shown by relevo alone: {' '.join(newer)}")
    hidden = [row.case.id for row in rows if row.case.not_observable]
    if hidden:
        print(f"cannot be asked of the installed chasquid: {' '.join(hidden)}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--all", action="store_true", help="list the rows that are right too")
    options, arguments = parser.parse_known_args()
    rows = judge(run(arguments))
    print_table(rows, everything=options.all)
    verdicts = Counter(bool(row.complaint()) for row in rows)
    print(f"{verdicts[False]} rows right, {verdicts[True]} wrong")
    return 1 if verdicts[True] else 0


if __name__ == "__main__":
    sys.exit(main())
