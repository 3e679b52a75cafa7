"""Segments in which little still lives are emptied, and used again."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

import apsw
import pytest

from relevo.queue import backup, compaction
from relevo.queue.backup import BackedUp, back_up
from relevo.queue.compaction import QUIET, compact
from relevo.queue.database import QueuePaths, Transaction, Turn, connect
from relevo.queue.disk import Disk
from relevo.queue.found_records import find_records
from relevo.queue.generations import Generation
from relevo.queue.reading import open_reader
from unit.queue.faults import FaultyDisk, FaultyVFS, broken
from unit.queue.samples import NOW, delivered, message, opened, random_octets, read, run, until

LIVES = random_octets(1_000, 1)
ENDS = random_octets(2_000, 2)


def age(queue: Path) -> None:
    """Nothing was written into the segments for a while."""
    for path in (queue / "spool").glob("*.seg"):
        old = time.time() - QUIET - 1
        os.utime(path, (old, old))


def compact_once(
    queue: Path, *, disk: Disk | None = None, doubtful: list[str] | None = None
) -> int:
    paths = QueuePaths(queue)
    disk = disk or Disk()
    connection, turn = connect(paths, disk), Turn(paths)
    with turn, Transaction(connection):
        generation = Generation(paths.spool, connection)
    doubtful = [] if doubtful is None else doubtful
    try:
        return compact(
            paths, connection, turn, generation, disk, now=time.time(), doubtful=doubtful
        )
    finally:
        connection.close()
        turn.close()
        generation.close()


def fill(queue: Path, *, ended: int, leased: bool = False) -> str:
    """One message that lives among others that ended; its id."""
    one = message(LIVES, due=NOW + 600)

    async def put() -> None:
        async with opened(queue) as store:
            await store.add(one, lease=leased)
            for _ in range(ended):
                (unit,) = await store.add(message(ENDS), lease=True)
                await store.finish(delivered(unit))

    run(put())
    age(queue)
    return str(one.id)


def place(queue: Path, identity: str) -> tuple[str, int | None]:
    connection = connect(QueuePaths(queue), Disk())
    row: Any = connection.execute("SELECT file, start FROM message WHERE id = ?", (identity,))
    found: tuple[str, int | None] = row.fetchone()
    connection.close()
    return found


def test_what_lives_in_a_mostly_dead_segment_gets_a_file_of_its_own(tmp_path: Path) -> None:
    identity = fill(tmp_path, ended=4)
    assert compact_once(tmp_path) == 1
    file, start = place(tmp_path, identity)
    assert file.endswith(".msg")
    assert start is None
    with open_reader(tmp_path) as reader:
        content = reader.content(identity)
        assert content is not None
        assert read(content) == LIVES
    assert compact_once(tmp_path) == 0


def test_the_file_goes_with_its_message(tmp_path: Path) -> None:
    fill(tmp_path, ended=4)
    compact_once(tmp_path)

    async def deliver() -> None:
        async with opened(tmp_path) as store:
            (unit,) = await store.lease(now=NOW + 600, limit=9)
            assert read(unit.content) == LIVES
            await store.finish(delivered(unit))
            await until(lambda: not list((tmp_path / "spool").glob("*.msg")))

    run(deliver())


def test_the_record_says_the_same_for_a_repair(tmp_path: Path) -> None:
    identity = fill(tmp_path, ended=4)
    before = [one.metadata for one in find_records(tmp_path / "spool")]
    compact_once(tmp_path)
    (own,) = (one for one in find_records(tmp_path / "spool") if one.start is None)
    assert own.metadata in before
    assert (own.metadata.id, own.size) == (identity, len(LIVES))


def test_a_segment_that_was_just_written_is_left(tmp_path: Path) -> None:
    identity = fill(tmp_path, ended=4)
    for path in (tmp_path / "spool").glob("*.seg"):
        path.touch()
    assert compact_once(tmp_path) == 0
    assert place(tmp_path, identity)[0].endswith(".seg")


def test_a_segment_that_is_well_used_is_left(tmp_path: Path) -> None:
    async def put() -> None:
        async with opened(tmp_path) as store:
            for _ in range(3):
                await store.add(message(ENDS), lease=False)

    run(put())
    age(tmp_path)
    assert compact_once(tmp_path) == 0


def test_a_message_that_is_being_delivered_is_left(tmp_path: Path) -> None:
    identity = fill(tmp_path, ended=4, leased=True)
    assert compact_once(tmp_path) == 0
    assert place(tmp_path, identity)[0].endswith(".seg")
    assert list((tmp_path / "spool").glob("*.msg")) == []


def test_a_damaged_record_is_left(tmp_path: Path) -> None:
    identity = fill(tmp_path, ended=4)
    file, _ = place(tmp_path, identity)
    path = tmp_path / "spool" / file
    data = path.read_bytes()
    path.write_bytes(data.replace(LIVES[:20], b"x" * 20))
    age(tmp_path)
    assert compact_once(tmp_path) == 0
    assert list((tmp_path / "spool").glob("*.msg")) == []


def test_a_round_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "_MOST_OCTETS", 1)
    for _ in range(3):
        fill(tmp_path, ended=4)
    assert [compact_once(tmp_path) for _ in range(4)] == [1, 1, 1, 0]


def test_a_running_store_gets_its_segments_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "QUIET", -1.0)

    async def check() -> None:
        async with opened(tmp_path, checkpoints=True) as store:
            await store.add(message(LIVES, due=NOW + 600), lease=False)
            (first,) = (tmp_path / "spool").glob("*-1.seg")
            for _ in range(20):
                (unit,) = await store.add(message(ENDS), lease=True)
                await store.finish(delivered(unit))
            await until(lambda: not first.exists() or bool(list(first.parent.glob("*.msg"))))
            assert await store.waiting() == 1

    run(check())


def test_a_backup_follows_what_is_moved_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, target = tmp_path / "data", tmp_path / "copy"
    identity = fill(queue, ended=4)
    target.mkdir()
    original: Any = backup._copy_database

    def copy_then_move(*values: Any) -> None:
        original(*values)
        assert compact_once(queue) == 1
        for path in (queue / "spool").glob("*.seg"):
            path.unlink()

    monkeypatch.setattr(backup, "_copy_database", copy_then_move)
    assert back_up(queue, target) == BackedUp(messages=1)
    with open_reader(target) as reader:
        content = reader.content(identity)
        assert content is not None
        assert read(content) == LIVES


@pytest.mark.parametrize("operation", ["commit", "sync_directory"])
def test_a_copy_whose_commit_failed_goes_with_the_next_round(
    tmp_path: Path, operation: str
) -> None:
    fill(tmp_path, ended=9)
    vfs = FaultyVFS()
    doubtful: list[str] = []

    class OfTheMove(FaultyDisk):
        """The commit of the move fails, the one of the generation before it does not."""

        def sync_directory(self, path: Path) -> None:
            if operation == "commit":
                vfs.fail_sync = apsw.IOError("told to")
                super().sync_directory(path)
            else:
                raise broken()

    disk = OfTheMove()
    disk.vfs = vfs.name
    # As in a server the database stays open, else its recovery would bring the failed commit back.
    with contextlib.closing(connect(QueuePaths(tmp_path), Disk())) as anchor:
        anchor.execute("SELECT 1 FROM counter").fetchall()
        with pytest.raises((apsw.IOError, OSError)):
            compact_once(tmp_path, disk=disk, doubtful=doubtful)
        (copy,) = (tmp_path / "spool").glob("*.msg")
        assert doubtful == [copy.name]
        assert compact_once(tmp_path, doubtful=doubtful) == 1
    assert doubtful == []
    assert not copy.exists()
    assert len(list((tmp_path / "spool").glob("*.msg"))) == 1
