"""Group commit when the disk fails: what was refused is not there, what was answered is."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import resource
import threading
from dataclasses import replace
from pathlib import Path
from typing import Self

import apsw
import pytest

from relevo.queue import database as queue_database
from relevo.queue import writer
from relevo.queue.database import QueuePaths, Transaction, Turn, connect, create_database
from relevo.queue.disk import Disk
from relevo.queue.sqlite import SqliteStore
from relevo.queue.store import StoreFailed
from unit.queue.faults import FaultyDisk, FaultyVFS, broken
from unit.queue.samples import (
    NOW,
    SMALL,
    Source,
    deferred,
    delivered,
    message,
    opened,
    random_octets,
    read,
    run,
    spoil,
    until,
)

SEGMENT_SIZED = random_octets(1000)
FILE_SIZED = random_octets(40_000)


@pytest.fixture(autouse=True)
def quick_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_TICK", 0.02)


async def leased_ids(store: SqliteStore) -> set[str]:
    return {unit.message_id for unit in await store.lease(now=NOW, limit=999)}


@pytest.mark.parametrize(
    ("operation", "data"),
    [
        pytest.param("write", SEGMENT_SIZED, id="segment-write"),
        pytest.param("sync_data", SEGMENT_SIZED, id="segment-sync"),
        pytest.param("create", SEGMENT_SIZED, id="segment-create"),
        pytest.param("create", FILE_SIZED, id="file-create"),
        pytest.param("write", FILE_SIZED, id="file-write"),
        pytest.param("sync", FILE_SIZED, id="file-sync"),
        pytest.param("sync_directory", FILE_SIZED, id="file-directory-sync"),
    ],
)
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EROFS], ids=errno.errorcode.get)
def test_failed_spool_operation_fails_the_add_and_the_next_works(
    tmp_path: Path, operation: str, data: bytes, code: int
) -> None:
    async def check() -> None:
        disk = FaultyDisk()
        async with opened(tmp_path, disk=disk) as store:
            disk.failing[operation] = broken(code)
            with pytest.raises(StoreFailed):
                await store.add(message(data), lease=False)
            disk.failing.clear()
            assert not store.is_suspended
            new = message(data)
            await store.add(new, lease=False)
            (unit,) = await store.lease(now=NOW, limit=9)
            assert unit.message_id == new.id
            assert read(unit.content) == data

    run(check())


def test_abandoned_segment_is_never_written_again(tmp_path: Path) -> None:
    async def check() -> None:
        disk = FaultyDisk()
        async with opened(tmp_path, disk=disk) as store:
            await store.add(message(SEGMENT_SIZED), lease=False)
            (segment,) = (tmp_path / "spool").glob("*.seg")
            before = segment.read_bytes()
            disk.failing["sync_data"] = broken()
            with pytest.raises(StoreFailed):
                await store.add(message(SEGMENT_SIZED), lease=False)
            disk.failing.clear()
            written = segment.read_bytes()
            assert written != before
            await store.add(message(SEGMENT_SIZED), lease=False)
            assert segment.read_bytes() == written
            assert len(list((tmp_path / "spool").glob("*.seg"))) == 2
            assert len(await leased_ids(store)) == 2

    run(check())


@pytest.mark.parametrize("what", ["sync", "write"])
def test_failed_commit_fails_the_whole_batch_and_nothing_of_it_appears(
    tmp_path: Path, what: str
) -> None:
    async def check() -> None:
        vfs, disk = FaultyVFS(), FaultyDisk()
        disk.vfs = vfs.name
        async with opened(tmp_path, disk=disk) as store:
            kept = message()
            await store.add(kept, lease=False)
            error = apsw.IOError("told to") if what == "sync" else apsw.FullError("told to")
            setattr(vfs, f"fail_{what}", error)
            answers = await asyncio.gather(
                *(store.add(message(), lease=False) for _ in range(10)), return_exceptions=True
            )
            setattr(vfs, f"fail_{what}", None)
            assert all(isinstance(answer, StoreFailed) for answer in answers)
            await until(lambda: not store.is_suspended)
            after = message()
            await store.add(after, lease=False)
            assert await leased_ids(store) == {kept.id, after.id}
        async with opened(tmp_path) as store:
            assert await leased_ids(store) == {kept.id, after.id}

    run(check())


def test_failed_commit_does_not_come_back_when_the_worker_stops_at_once(tmp_path: Path) -> None:
    """The failed commit's frames may be whole in the WAL; nobody may recover them."""

    async def check() -> None:
        vfs, disk = FaultyVFS(), FaultyDisk()
        disk.vfs = vfs.name
        async with opened(tmp_path, disk=disk) as store:
            vfs.fail_sync = apsw.IOError("told to")
            with pytest.raises(StoreFailed):
                await store.add(message(), lease=False)
            vfs.fail_sync = None
        async with opened(tmp_path) as store:
            assert await leased_ids(store) == set()

    run(check())


def test_failed_finish_keeps_the_lease_and_may_be_repeated(tmp_path: Path) -> None:
    async def check() -> None:
        vfs, disk = FaultyVFS(), FaultyDisk()
        disk.vfs = vfs.name
        async with opened(tmp_path, disk=disk) as store:
            (unit,) = await store.add(message(), lease=True)
            vfs.fail_sync = apsw.IOError("told to")
            with pytest.raises(StoreFailed):
                await store.finish(delivered(unit))
            vfs.fail_sync = None
            assert await leased_ids(store) == set()
            await store.finish(deferred(unit, NOW))
            assert await leased_ids(store) == {unit.message_id}

    run(check())


def test_second_failure_suspends_until_a_probe_succeeds(tmp_path: Path) -> None:
    async def check() -> None:
        disk = FaultyDisk()
        async with opened(tmp_path, disk=disk) as store:
            disk.failing = {"sync_data": broken(), "sync": broken()}
            for expected in (False, True):
                with pytest.raises(StoreFailed):
                    await store.add(message(SEGMENT_SIZED), lease=False)
                # A segment cannot be made either: each try is a failure.
                assert store.is_suspended is expected
            for data in (b"x", SEGMENT_SIZED, FILE_SIZED):
                with pytest.raises(StoreFailed):
                    await store.add(message(data), lease=False)
            probes = disk.calls["create"]
            await until(lambda: disk.calls["create"] >= probes + 2)
            assert store.is_suspended
            disk.failing.clear()
            await until(lambda: not store.is_suspended)
            await store.add(message(SEGMENT_SIZED), lease=False)
            assert await store.waiting() == 1

    run(check())


def test_how_many_wait_is_told_while_the_store_is_suspended(tmp_path: Path) -> None:
    async def check() -> None:
        disk = FaultyDisk()
        async with opened(tmp_path, disk=disk) as store:
            await store.add(message(b"x"), lease=False)
            disk.failing = {"sync_data": broken(), "sync": broken()}
            for _ in range(2):
                with pytest.raises(StoreFailed):
                    await store.add(message(SEGMENT_SIZED), lease=False)
            assert store.is_suspended
            assert [await store.waiting(), await store.waiting()] == [1, 1]

    run(check())


def test_a_row_that_cannot_be_read_keeps_no_other_waiting(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path) as store:
            good, bad = message(b"x"), message(b"x")
            await store.add(good, lease=False)
            await store.add(bad, lease=False)
            with contextlib.closing(connect(QueuePaths(tmp_path), Disk())) as database:
                database.execute("UPDATE message SET envelope = x'7b' WHERE id = ?", (bad.id,))
            assert await leased_ids(store) == {good.id}
            assert await leased_ids(store) == set()

    run(check())


def test_a_unit_without_its_message_keeps_no_other_waiting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def check() -> None:
        async with opened(tmp_path) as store:
            good, bad = message(b"x"), message(b"x")
            await store.add(good, lease=False)
            await store.add(bad, lease=False)
            with contextlib.closing(connect(QueuePaths(tmp_path), Disk())) as database:
                database.execute("DELETE FROM message WHERE id = ?", (bad.id,))
            assert await leased_ids(store) == {good.id}
            assert await leased_ids(store) == set()

    run(check())
    assert "relevo queue repair" in caplog.text


def test_after_a_failure_a_damaged_database_stays_out_of_use(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def check() -> None:
        vfs, disk = FaultyVFS(), FaultyDisk()
        disk.vfs = vfs.name
        async with opened(tmp_path, disk=disk) as store:
            await store.add(message(), lease=False)
            spoil(tmp_path, "unit")
            vfs.fail_sync = apsw.IOError("told to")
            with pytest.raises(StoreFailed):
                await store.add(message(), lease=False)
            vfs.fail_sync = None
            with pytest.raises(StoreFailed):
                await store.add(message(), lease=False)
            assert store.is_suspended

    run(check())
    assert "relevo queue repair" in caplog.text


def test_the_look_at_a_large_database_ends_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_database(tmp_path)
    paths = QueuePaths(tmp_path)
    with contextlib.closing(connect(paths, Disk())) as database:
        spoil(tmp_path, "unit")
        monkeypatch.setattr(queue_database, "_STEPS_BETWEEN_LOOKS", 1)
        monkeypatch.setattr(queue_database, "_LOOK_OVER", 0.0)
        queue_database.look_over(database, paths)  # no time to come to the damage
        monkeypatch.setattr(queue_database, "_LOOK_OVER", 60.0)
        with pytest.raises(queue_database.DatabaseDamaged, match="relevo queue repair"):
            queue_database.look_over(database, paths)


def test_file_of_a_failed_commit_is_removed(tmp_path: Path) -> None:
    async def check() -> None:
        vfs, disk = FaultyVFS(), FaultyDisk()
        disk.vfs = vfs.name
        async with opened(tmp_path, disk=disk) as store:
            vfs.fail_sync = apsw.IOError("told to")
            with pytest.raises(StoreFailed):
                await store.add(message(FILE_SIZED), lease=False)
            vfs.fail_sync = None
            await until(lambda: not list((tmp_path / "spool").glob("*.msg")))

    run(check())


def test_short_of_space_follows_the_free_share(tmp_path: Path) -> None:
    async def check() -> None:
        disk = FaultyDisk()
        disk.free = 0.01
        options = replace(SMALL, min_free_space=0.05)
        async with opened(tmp_path, disk=disk, options=options) as store:
            assert store.is_short_of_space
            assert store.is_short_of_space
            assert disk.calls["free_share"] == 1

    run(check())


def test_fifty_at_once_share_commits(tmp_path: Path) -> None:
    async def check() -> None:
        disk = FaultyDisk()
        async with opened(tmp_path, disk=disk) as store:
            await store.add(message(SEGMENT_SIZED), lease=False)
            before = disk.calls["sync_data"]
            await asyncio.gather(
                *(store.add(message(random_octets(150)), lease=False) for _ in range(50))
            )
            assert disk.calls["sync_data"] - before <= 10

    run(check())


def test_more_requests_than_a_batch_holds(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path) as store:
            news = [message(b"x") for _ in range(1500)]
            units = await asyncio.gather(*(store.add(new, lease=True) for new in news))
            await asyncio.gather(*(store.finish(deferred(one, NOW)) for (one,) in units))
            assert await leased_ids(store) <= {new.id for new in news}
            assert await store.waiting() == 1500

    run(check())


def test_value_that_cannot_be_written_hurts_its_caller_only(tmp_path: Path) -> None:
    """A wrong type is a bug of the caller: it gets the error, the others are committed."""

    async def check() -> None:
        async with opened(tmp_path) as store:
            wrong = replace(message(), created="yesterday" and object())  # type: ignore[arg-type]
            good = [message() for _ in range(3)]
            answers = await asyncio.gather(
                *(store.add(new, lease=False) for new in (*good, wrong)), return_exceptions=True
            )
            assert answers[:3] == [()] * 3
            assert isinstance(answers[3], TypeError)
            assert await leased_ids(store) == {new.id for new in good}
            assert not store.is_suspended

    run(check())


@pytest.mark.parametrize("size", [20, 1000, 40_000], ids=["inline", "segment", "file"])
def test_file_system_that_takes_no_more_octets(tmp_path: Path, size: int) -> None:
    """For real, by a limit of the process: SQLite's own writes fail too."""

    async def check() -> None:
        async with opened(tmp_path) as store:
            kept = message(random_octets(size))
            await store.add(kept, lease=False)
            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (512, hard))
            try:
                with pytest.raises(StoreFailed):
                    await store.add(message(random_octets(size)), lease=False)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            await until(lambda: not store.is_suspended)
            after = message(random_octets(size))
            await store.add(after, lease=False)
            assert await leased_ids(store) == {kept.id, after.id}

    run(check())


def test_close_while_adds_are_under_way_answers_them_all(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path) as store:
            tasks = [
                asyncio.create_task(store.add(message(random_octets(size)), lease=False))
                for size in (20, 1000, 40_000) * 10
            ]
            await asyncio.sleep(0)
            await store.close()
            async with asyncio.timeout(20):
                answers = await asyncio.gather(*tasks, return_exceptions=True)
        accepted = [answer for answer in answers if answer == ()]
        others = [answer for answer in answers if answer != ()]
        assert [other for other in others if not isinstance(other, StoreFailed)] == []
        async with opened(tmp_path) as store:
            assert await store.waiting() == len(accepted)

    run(check())


@pytest.mark.parametrize("size", [20, 1000, 40_000], ids=["inline", "segment", "file"])
def test_add_after_close_is_refused(tmp_path: Path, size: int) -> None:
    async def check() -> None:
        async with opened(tmp_path) as store:
            await store.close()
            for data in (random_octets(size), Source(random_octets(size))):
                with pytest.raises(StoreFailed):
                    await store.add(message(data), lease=False)

    run(check())


def test_request_that_raises_does_not_end_the_thread(tmp_path: Path) -> None:
    def wrong(connection: apsw.Connection) -> object:
        raise ZeroDivisionError

    async def check() -> None:
        async with opened(tmp_path) as store:
            for call in (store._look, store._call):
                with pytest.raises(ZeroDivisionError):
                    await call(wrong)
            await store.add(message(), lease=False)
            assert await store.waiting() == 1

    run(check())


def test_commits_wait_for_their_turn(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path) as store:
            turn = Turn(QueuePaths(tmp_path))
            with turn:
                task = asyncio.create_task(store.add(message(), lease=False))
                done, _ = await asyncio.wait([task], timeout=0.1)
                assert not done
            await task
            turn.close()

    run(check())


def test_what_comes_while_the_turn_is_waited_for_is_of_the_same_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what has its content in a segment, which is synced before."""
    transactions: list[Transaction] = []
    asks_for_its_turn = threading.Event()

    class Counted(Transaction):
        def __enter__(self) -> None:
            transactions.append(self)
            super().__enter__()

    class Announced(Turn):
        def __enter__(self) -> Self:
            asks_for_its_turn.set()
            return super().__enter__()

    monkeypatch.setattr(writer, "Turn", Announced)

    async def check() -> None:
        async with opened(tmp_path) as store:
            (unit,) = await store.add(message(SEGMENT_SIZED), lease=True)
            monkeypatch.setattr(writer, "Transaction", Counted)
            asks_for_its_turn.clear()
            turn = Turn(QueuePaths(tmp_path))
            with turn:
                first = asyncio.create_task(store.add(message(), lease=False))
                await until(asks_for_its_turn.is_set)
                others = [
                    asyncio.create_task(store.add(message(data), lease=False))
                    for data in (b"x", SEGMENT_SIZED, b"x")
                ]
                ended = asyncio.create_task(store.finish(delivered(unit)))
                await asyncio.sleep(0)
            await asyncio.gather(first, ended, *others)
            assert len(transactions) == 1
            turn.close()
            assert await store.waiting() == 4

    run(check())
