"""The short form of `make mutants`: every fault applies, and one of each room is found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from mutants.trial import ROOT, SOURCES, BaselineFailed, Bench, Fault, Verdict, load, one_a_room

FAULTS = load()
ROOMS = {
    "smtp", "mail", "queue", "hooks", "mailauth", "reception", "delivery", "outbound", "directory",
    "authn", "config", "service", "dns", "hook",
}  # fmt: skip


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with Bench(tmp_path_factory.mktemp("copies"), jobs=1) as bench:
        yield bench


def is_there(test: str) -> bool:
    """Whether a test of this name stands in its folder (a contract may be in another file)."""
    file, _, name = test.partition("::")
    folder = (ROOT / "tests" / "unit" / file).parent
    line = f"def {name.rpartition('::')[2]}("
    return any(line in path.read_text() for path in folder.glob("*.py"))


def test_each_fault_applies_and_names_a_test() -> None:
    stale = [
        fault.what
        for fault in FAULTS
        if fault.mutated((SOURCES / "relevo" / fault.file).read_text()) is None
    ]
    assert stale == []
    assert [fault.test for fault in FAULTS if not is_there(fault.test)] == []
    assert len({fault.what for fault in FAULTS}) == len(FAULTS)


def test_one_fault_of_each_room_is_found(bench: Bench) -> None:
    trials = bench.try_all(one_a_room(FAULTS))
    assert {trial.fault.room for trial in trials} == ROOMS
    assert [trial for trial in trials if trial.verdict is not Verdict.KILLED] == []


def test_a_fault_that_no_test_finds_survives(bench: Bench) -> None:
    harmless = Fault(
        what="another order in a sum",
        file="smtp/framing.py",
        old="self.wire_size += len(body) + end_mark",
        new="self.wire_size += end_mark + len(body)",
        test="smtp/test_framing.py::test_the_end_mark_counts_against_the_limit",
    )
    gone = replace(harmless, old="this stands nowhere")
    (survivor, stale) = bench.try_all([harmless, gone])
    assert (survivor.verdict, stale.verdict) == (Verdict.SURVIVED, Verdict.STALE)
    assert "passed" in survivor.output


def test_a_test_that_fails_without_any_fault_proves_nothing(bench: Bench) -> None:
    nameless = replace(FAULTS[0], test="smtp/test_framing.py::test_that_nobody_wrote")
    with pytest.raises(BaselineFailed, match="not found"):
        bench.try_all([nameless])
