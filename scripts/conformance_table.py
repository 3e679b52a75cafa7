"""Runs every dialogue on relevo and on the installed chasquid and prints a verdict for each row.

    .venv/bin/python scripts/conformance_table.py [--all] [pytest arguments]

Exits with 1 when a row of tests/conformance/chasquid/cases.toml is not as its kind says;
`--all` lists the rows that are right too.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUITE = ROOT / "tests" / "conformance" / "chasquid"
sys.path.insert(0, str(ROOT / "tests"))

# The tests are no installed package, so the path above must come first.
from conformance.chasquid import cases  # noqa: E402
from conformance.chasquid.cases import Kind  # noqa: E402
from conformance.chasquid.verdicts import Outcome, Row, judge  # noqa: E402

TEXT_WIDTH = 70


def run(arguments: list[str]) -> list[Outcome]:
    """Both columns of the whole suite; what failed is for `judge` to weigh."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "outcomes.json"
        command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-r", "E", "--both"]
        subprocess.run(
            [*command, f"--outcomes={path}", str(SUITE), *arguments], cwd=ROOT, check=False
        )
        if not path.exists():
            sys.exit("pytest ended before it could write the outcomes")
        outcomes: list[Outcome] = json.loads(path.read_text())
        return outcomes


def print_table(rows: list[Row], *, everything: bool) -> None:
    print(f"\n{'row':5} {'kind':4} {'relevo':8} {'chasquid':8} verdict")
    for row in rows:
        complaint = row.complaint()
        if not complaint and not everything:
            continue
        verdict = f"WRONG  {complaint}" if complaint else f"ok     {row.remark()}"
        print(
            f"{row.case.id:5} {row.case.kind:4} {row.relevo:8} {row.chasquid:8} {verdict}".rstrip()
        )
        if complaint:
            asked, expected = row.case.input[:TEXT_WIDTH], row.case.expected[:TEXT_WIDTH]
            print(f"{'':28}       {asked} → {expected}")


def print_summary(rows: list[Row]) -> None:
    print()
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
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--all", action="store_true", help="list the rows that are right too")
    options, arguments = parser.parse_known_args()
    rows = judge(cases.load(), run(arguments))
    print_table(rows, everything=options.all)
    print_summary(rows)
    wrong = [row for row in rows if row.complaint()]
    print(f"{len(rows) - len(wrong)} rows right, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
