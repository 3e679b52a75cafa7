"""Runs the parts of the test suite one after the other and says at the end what happened.

    run_tests.py [PART …]      without PART: all of them

A failing part does not keep the others from running. The last lines tell the time of each part,
then what was skipped and the one line that enables it. Exits 1 when a part failed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
RUFF = str(BIN / "ruff")
PYTEST = (sys.executable, "-m", "pytest", "-q")
NO_TESTS_COLLECTED = 5  # pytest's exit status


@dataclass(frozen=True, slots=True)
class Part:
    """Commands that are run in order."""

    name: str
    commands: tuple[tuple[str, ...], ...]
    is_static: bool = False  # runs none of the Debian programs


def pytest(*arguments: str) -> tuple[str, ...]:
    """A pytest run."""
    return (*PYTEST, *arguments)


PARTS = (
    Part("lint", ((RUFF, "check", "."), (RUFF, "format", "--check", ".")), is_static=True),
    Part("types", ((str(BIN / "mypy"),),), is_static=True),
    Part("unit", (pytest("tests/architecture", "tests/unit", "tests/property", "tests/mutants"),)),
    Part("conformance", (pytest("tests/conformance"),)),
    Part(
        "system",
        (
            pytest("tests/system", "-n", "2", "-m", "not alone"),
            pytest("tests/system", "-m", "alone"),  # tests that measure time
        ),
    ),
    Part("faults", (pytest("tests/fault"),)),
    Part(
        "hostile",
        (
            pytest("tests/hostile", "-n", "2", "-m", "not alone"),
            pytest("tests/hostile", "-m", "alone"),
        ),
    ),
)


@dataclass(slots=True)
class Summary:
    """What the last lines tell."""

    lines: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    skipped: dict[str, list[str]] = field(default_factory=dict)  # package → tests


def run_part(part: Part, summary: Summary) -> None:
    """Run a part to its end and note its time, result and skips."""
    print(f"\n──── {part.name}", flush=True)
    started = time.monotonic()
    statuses = []
    with tempfile.TemporaryDirectory(prefix="relevo-tests-") as folder:
        report = Path(folder) / "skipped.jsonl"
        environment = {**os.environ, "RELEVO_SKIP_REPORT": str(report)}
        for command in part.commands:
            statuses.append(
                subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
            )
            if statuses[-1] == NO_TESTS_COLLECTED:
                print(f"no tests: {' '.join(command[3:])}", flush=True)
        if report.exists():
            for line in report.read_text().splitlines():
                entry = json.loads(line)
                summary.skipped.setdefault(entry["package"], []).append(entry["test"])
    is_good = not any(statuses)
    if not is_good:
        summary.failed.append(part.name)
    taken = time.monotonic() - started
    summary.lines.append(f"{part.name:<12} {taken:7.1f} s  {'passed' if is_good else 'FAILED'}")


def print_summary(summary: Summary, taken: float) -> None:
    """Times, skips and the line that enables what was skipped."""
    print("\n──── summary")
    for line in summary.lines:
        print(line)
    print(f"{'all':<12} {taken:7.1f} s  {'FAILED' if summary.failed else 'passed'}")
    if not summary.skipped:
        print("skipped: nothing")
        return
    count = sum(len(tests) for tests in summary.skipped.values())
    names = " ".join(sorted(summary.skipped))
    print(f"skipped: {count} tests, for want of these Debian packages: {names}")
    print("to run them too: sudo env RELEVO_INSTALL=yes make programs && make test", flush=True)


def main(names: list[str]) -> int:
    """Run the parts named, or all."""
    known = {part.name: part for part in PARTS}
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"no part {' '.join(unknown)}; there are: {' '.join(known)}", file=sys.stderr)
        return 2
    parts = [known[name] for name in names or known]
    summary = Summary()
    started = time.monotonic()
    if not all(part.is_static for part in parts):
        provide = [sys.executable, str(ROOT / "scripts" / "debian_programs.py")]
        subprocess.run(provide, cwd=ROOT, check=False)
    for part in parts:
        run_part(part, summary)
    print_summary(summary, time.monotonic() - started)
    return 1 if summary.failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
