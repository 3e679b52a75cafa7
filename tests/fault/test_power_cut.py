"""A power cut at any moment loses nothing that was answered 250; and the suite finds out faults."""

from __future__ import annotations

import bisect
import random
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from fault.form import FORM
from fault.mutants import ANSWER_FIRST, NO_RENAME, SYNC_AGAIN, Mutant, mutated_sources
from fault.powercut.disk import Disk, Mode, SyncCounts, every_sync_counts
from fault.powercut.experiment import (
    REPLAYED,
    Recorded,
    behind_acceptances,
    choose_positions,
    differences,
    disks,
    record,
    replay,
)
from fault.powercut.recording import Kind
from fault.verdict import Verdict
from harness.processes import Reaper

pytestmark = [pytest.mark.needs_debian("gcc"), pytest.mark.timeout(600)]

MUTANT_MESSAGES = 300
FAILING_MESSAGES = 250
MUTANT_CUTS = 6  # tried until mail is lost
BEYOND_THE_DATABASE = 10_240  # octets: such a message stands in a segment or a file of its own


def no_sync(_path: str, _is_directory: bool) -> bool:
    return False


def no_sync_of_the_log(path: str, _is_directory: bool) -> bool:
    return not path.endswith("/queue.db-wal")


def no_sync_of_spool_files(path: str, is_directory: bool) -> bool:
    return is_directory or "/data/spool/" not in path


def no_sync_of_folders_in_the_spool(path: str, is_directory: bool) -> bool:
    return not (is_directory and path.endswith("/data/spool"))


def no_sync_of_folders_in_mailboxes(path: str, is_directory: bool) -> bool:
    return not (is_directory and "/site/mail" in path)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    made = record_load(tmp_path_factory.mktemp("cut") / "run")
    yield made
    made.remove()


def record_load(path: Path) -> Recorded:
    with Reaper() as reaper:
        return record(reaper, path, messages=FORM.cut_messages)


def test_the_recording_is_complete(recorded: Recorded, tmp_path: Path) -> None:
    """Played to its end it gives the files that the server really left, octet for octet."""
    assert differences(recorded, tmp_path / "played") == []
    assert len(recorded.names) == FORM.cut_messages
    shutil.rmtree(tmp_path / "played")


@pytest.mark.timeout(FORM.timeout_s)
def test_cuts_lose_nothing(
    recorded: Recorded, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = random.randrange(1 << 32)
    chooser = random.Random(seed)
    cuts, total = 0, Verdict()
    for number in range(FORM.recordings):
        run = recorded if number == 0 else record_load(tmp_path / f"run{number}")
        positions = choose_positions(run, FORM.cuts, FORM.early_cuts, chooser)
        for disk, mode in every_way(disks(run.recording, positions)):
            place = tmp_path / f"{number}-{disk.position}-{mode.name}"
            done = replay(run, disk, mode, place, chooser)
            cuts += 1
            total.add(done.verdict)
            with capsys.disabled():
                print(f"\ncut at {disk.position}, {mode.value}: {done.verdict}", flush=True)
            done.verdict.require_nothing_lost()
            assert not done.partial, done.partial
        if run is not recorded:
            run.remove()
    with capsys.disabled():
        print(f"\npower cuts: {cuts} replayed (seed {seed}), no partial file: {total}")


def every_way(stages: Iterable[Disk]) -> Iterator[tuple[Disk, Mode]]:
    """Each disk with each mode, before the next disk is made of it."""
    for disk in stages:
        for mode in REPLAYED:
            yield disk, mode


@pytest.mark.parametrize(
    ("counts", "least_size"),
    [
        pytest.param(no_sync, 0, id="none"),
        pytest.param(no_sync_of_the_log, 0, id="none-of-the-database"),
        pytest.param(no_sync_of_spool_files, BEYOND_THE_DATABASE, id="none-of-spool-files"),
        pytest.param(no_sync_of_folders_in_the_spool, BEYOND_THE_DATABASE, id="none-of-the-spool"),
        pytest.param(no_sync_of_folders_in_mailboxes, 0, id="none-of-mailbox-folders"),
    ],
)
def test_missing_syncs_are_found_out(
    recorded: Recorded,
    tmp_path: Path,
    counts: SyncCounts,
    least_size: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    chooser = random.Random()
    positions = behind_acceptances(recorded, MUTANT_CUTS, chooser, least_size=least_size)
    lost = cut_until_lost(recorded, positions, counts, tmp_path)
    with capsys.disabled():
        print(f"\npower cut, {counts.__name__}: {lost} lost")
    assert lost


@pytest.mark.parametrize("mutant", [ANSWER_FIRST, NO_RENAME], ids=lambda mutant: mutant.name)
def test_faults_of_the_server_are_found_out(
    reaper: Reaper, tmp_path: Path, mutant: Mutant, capsys: pytest.CaptureFixture[str]
) -> None:
    source = mutated_sources(tmp_path / "src", mutant)
    recorded = record(reaper, tmp_path / "run", messages=MUTANT_MESSAGES, source=source)
    positions = behind_acceptances(recorded, MUTANT_CUTS, random.Random())
    lost = cut_until_lost(recorded, positions, every_sync_counts, tmp_path)
    with capsys.disabled():
        print(f"\npower cut, {mutant.name}: {lost} lost")
    assert lost


def cut_until_lost(
    recorded: Recorded, positions: list[int], counts: SyncCounts, folder: Path
) -> int:
    """Cut at one position after the other, dropping all, until mail is lost; how much is."""
    for disk in disks(recorded.recording, positions, counts):
        place = folder / str(disk.position)
        done = replay(recorded, disk, Mode.DROP, place, random.Random())
        if done.verdict.lost:
            return len(done.verdict.lost)
    return 0


FAILING_SYNCS = ".db-wal=10,.seg=5,.msg=8"  # of each process, every so many


def test_after_syncs_that_failed_a_cut_loses_nothing(
    reaper: Reaper, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second sync may succeed although what the first should have written is gone."""
    recorded = record(
        reaper, tmp_path / "run", messages=FAILING_MESSAGES, failing_syncs=FAILING_SYNCS
    )
    failed = sum(one.kind is Kind.SYNC_FAILED for one in recorded.recording)
    assert failed >= 5
    positions = behind_acceptances(recorded, FORM.cuts, random.Random())
    total = Verdict()
    for disk in disks(recorded.recording, positions):
        done = replay(recorded, disk, Mode.DROP, tmp_path / str(disk.position), random.Random())
        done.verdict.require_nothing_lost()
        total.add(done.verdict)
    with capsys.disabled():
        print(f"\npower cuts after {failed} syncs that failed: {len(positions)}: {total}")


def test_a_sync_that_is_tried_again_is_found_out(
    reaper: Reaper, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = mutated_sources(tmp_path / "src", SYNC_AGAIN)
    recorded = record(
        reaper, tmp_path / "run", messages=MUTANT_MESSAGES, source=source, failing_syncs=".seg=5"
    )
    accepted = behind_acceptances(recorded, len(recorded.recording), least_size=BEYOND_THE_DATABASE)
    failed = [at for at, one in enumerate(recorded.recording) if one.kind is Kind.SYNC_FAILED]
    next_ones = (bisect.bisect(accepted, at) for at in failed)
    cuts = sorted({at for first in next_ones for at in accepted[first : first + 3]})
    lost = cut_until_lost(recorded, cuts[: 4 * MUTANT_CUTS], every_sync_counts, tmp_path)
    with capsys.disabled():
        print(f"\npower cut, {SYNC_AGAIN.name}: {lost} lost")
    assert lost
