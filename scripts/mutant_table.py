"""Makes the small faults of tests/mutants/faults.toml one at a time and prints which are found.

    .venv/bin/python scripts/mutant_table.py [-j JOBS] [WORD …]

With words: only the faults whose room, file, test or description has one of them. Exits with 1
when a fault survives its test, applies no more, or a test fails without any fault.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

# The tests are no installed package, so the path above must come first.
from mutants.trial import BaselineFailed, Bench, Fault, Trial, Verdict, load


def show(trial: Trial) -> None:
    """A line of the table."""
    fault = trial.fault
    print(
        f"{fault.room:10} {trial.verdict.value:14} {trial.seconds:5.1f} s  {fault.what}", flush=True
    )
    if trial.verdict is not Verdict.KILLED:
        print(f"{'':10} {fault.file}: tests/unit/{fault.test}")
        print("".join(f"{'':10} | {line}\n" for line in trial.output.splitlines()[-15:]), end="")


def is_wanted(fault: Fault, words: list[str]) -> bool:
    text = f"{fault.what} {fault.file} {fault.test}"
    return not words or any(word in text for word in words)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("words", nargs="*", metavar="WORD", help="which faults; default: all")
    parser.add_argument("-j", "--jobs", type=int, default=2, help="trials at once (default: 2)")
    options = parser.parse_args()
    faults = [fault for fault in load() if is_wanted(fault, options.words)]
    if not faults:
        parser.error("no fault has one of these words")
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="relevo-mutants-") as folder,
        Bench(Path(folder), jobs=options.jobs) as bench,
    ):
        try:
            trials = bench.try_all(faults, told=show)
        except BaselineFailed as failed:
            print(f"without any fault, a test that should find one fails:\n{failed}")
            return 1
    counts = Counter(trial.verdict for trial in trials)
    said = ", ".join(f"{count} {verdict.value}" for verdict, count in counts.items())
    print(f"{len(trials)} faults in {time.monotonic() - started:.0f} s: {said}")
    return 0 if counts[Verdict.KILLED] == len(trials) else 1


if __name__ == "__main__":
    sys.exit(main())
