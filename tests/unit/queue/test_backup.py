"""A copy of a queue that others work on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from relevo.queue import backup
from relevo.queue import database as queue_database
from relevo.queue.backup import BackedUp, back_up
from relevo.queue.database import (
    DatabaseDamaged,
    DatabaseError,
    QueuePaths,
    connect,
    create_database,
)
from relevo.queue.disk import Disk
from relevo.queue.reading import open_reader
from relevo.queue.sqlite import SqliteStore
from unit.queue.samples import (
    NOW,
    SMALL,
    delivered,
    message,
    opened,
    random_octets,
    read,
    run,
    spoil,
    until,
)

INLINE = b"A: b\r\n\r\n"
SEGMENT = random_octets(5_000, 1)
OWN = random_octets(40_000, 2)
ALL = (INLINE, SEGMENT, OWN)


def copy(source: Path, name: str = "copy") -> tuple[Path, BackedUp]:
    target = source.parent / name
    target.mkdir()
    return target, back_up(source, target)


def contents(queue: Path) -> set[bytes]:
    found = set()
    with open_reader(queue) as reader:
        for summary in reader.messages():
            content = reader.content(summary.id)
            assert content is not None
            found.add(read(content))
    return found


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "data"

    async def fill() -> None:
        async with opened(folder) as store:
            for content in ALL:
                await store.add(message(content), lease=False)

    run(fill())
    return folder


def test_the_copy_is_a_queue_that_can_be_worked_on(source: Path) -> None:
    (source / "authn-secret").write_bytes(b"secret")
    target, found = copy(source)
    assert found == BackedUp(messages=3)
    assert contents(target) == set(ALL)
    assert (target / "authn-secret").read_bytes() == b"secret"

    async def deliver() -> None:
        async with opened(target) as store:
            for unit in await store.lease(now=NOW, limit=9):
                await store.finish(delivered(unit))
            assert await store.waiting() == 0

    run(deliver())
    assert contents(source) == set(ALL)


def test_the_copy_is_private_and_small(source: Path) -> None:
    target, _ = copy(source)
    files = [path for path in target.rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    (segment,) = (target / "spool").glob("*.seg")
    assert segment.stat().st_size < SMALL.segment_size // 2


def test_commits_that_are_only_in_the_wal_are_copied(source: Path) -> None:
    async def check() -> None:
        async with opened(source) as store:
            late = message(b"late")
            await store.add(late, lease=False)
            assert QueuePaths(source).wal.stat().st_size > 0
            target, found = copy(source)
            assert found.messages == 4
            assert b"late" in contents(target)

    run(check())


def while_copying(monkeypatch: pytest.MonkeyPatch, happen: Callable[[], None]) -> None:
    """Let something happen between the snapshot and the copies of files."""
    original: Any = backup._copy_database

    def copy_then(*values: Any) -> None:
        original(*values)
        happen()

    monkeypatch.setattr(backup, "_copy_database", copy_then)


def test_what_ends_meanwhile_is_taken_out_of_the_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Delivery takes files along, and segments are written anew under other names."""
    source = tmp_path / "data"

    async def end_all(store: SqliteStore) -> None:
        old = {path.name for path in (source / "spool").iterdir() if path.suffix != ".lock"}
        for unit in await store.lease(now=NOW, limit=9):
            await store.finish(delivered(unit))
        for number in range(20):
            (unit,) = await store.add(message(random_octets(5_000, number)), lease=True)
            await store.finish(delivered(unit))
        await until(lambda: not any((source / "spool" / name).exists() for name in old))

    async def check() -> None:
        loop = asyncio.get_running_loop()
        async with opened(source) as store:
            for content in ALL:
                await store.add(message(content), lease=False)
            while_copying(
                monkeypatch,
                lambda: asyncio.run_coroutine_threadsafe(end_all(store), loop).result(60),
            )
            target, found = await asyncio.to_thread(copy, source)
        assert found == BackedUp(messages=1)
        assert contents(target) == {INLINE}
        with open_reader(target) as reader:
            assert reader.counts().messages == 1

    run(check())


def test_what_arrives_meanwhile_is_not_half_in_the_copy(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def arrive() -> None:
        async with opened(source) as store:
            await store.add(message(random_octets(5_000, 7)), lease=False)

    def in_another_thread() -> None:
        thread = threading.Thread(target=lambda: run(arrive()))
        thread.start()
        thread.join(60)

    while_copying(monkeypatch, in_another_thread)
    target, found = copy(source)
    assert found == BackedUp(messages=3)
    assert contents(target) == set(ALL)


def test_damage_is_named_and_does_not_stop_the_copy(source: Path) -> None:
    (own,) = (source / "spool").glob("*.msg")
    with own.open("r+b") as file:
        file.write(b"damaged")
    target, found = copy(source)
    assert len(found.damaged) == 1
    assert found.messages == 3
    with open_reader(target) as reader:
        assert reader.counts().messages == 3


def test_a_damaged_database_is_not_copied(source: Path) -> None:
    connection = connect(QueuePaths(source), Disk())
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    connection.close()
    (source / "queue.db").write_bytes(b"x" * 8192)
    with pytest.raises(DatabaseDamaged, match="repair"):
        copy(source)


def test_the_whole_copy_is_looked_at_however_long_that_takes(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that starts looks for half a second only."""
    spoil(source, "unit")
    monkeypatch.setattr(queue_database, "_STEPS_BETWEEN_LOOKS", 1)
    monkeypatch.setattr(queue_database, "_LOOK_AT_START", 0.0)
    create_database(source)
    with pytest.raises(DatabaseDamaged, match="repair"):
        copy(source)


def test_where_no_queue_is_there_is_no_copy(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(DatabaseError, match="no queue"):
        copy(tmp_path / "data")


def test_an_empty_queue_is_copied(tmp_path: Path) -> None:
    create_database(tmp_path / "data")
    target, found = copy(tmp_path / "data")
    assert found == BackedUp()
    assert contents(target) == set()
