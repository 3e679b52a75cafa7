"""Making, checking and sharing the database file."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import apsw
import pytest

from relevo.queue import database
from relevo.queue.database import (
    LibraryTooOld,
    QueuePaths,
    SchemaTooNew,
    SpoolWithoutDatabase,
    Transaction,
    Turn,
    check_library,
    connect,
    create_database,
    migrations,
    release_owner,
    start_over,
)
from relevo.queue.disk import Disk
from unit.queue.faults import FaultyDisk
from unit.queue.samples import NOW, message, opened, run


def test_created_database_is_wal_private_and_its_directory_synced(tmp_path: Path) -> None:
    disk = FaultyDisk()
    create_database(tmp_path / "data", disk)
    paths = QueuePaths(tmp_path / "data")
    connection = connect(paths, disk)
    assert connection.pragma("journal_mode") == "wal"
    assert connection.pragma("synchronous") == 2  # FULL
    assert connection.pragma("wal_autocheckpoint") == 0
    assert connection.pragma("user_version") == len(migrations())
    connection.close()
    assert stat.S_IMODE(paths.database.stat().st_mode) == 0o600
    assert stat.S_IMODE(paths.spool.stat().st_mode) == 0o700
    assert disk.calls["sync_directory"] == 2


def test_creating_again_changes_nothing(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path) as store:
            await store.add(message(), lease=False)
        create_database(tmp_path)
        async with opened(tmp_path) as store:
            assert await store.waiting() == 1

    run(check())


def test_later_schema_is_refused(tmp_path: Path) -> None:
    create_database(tmp_path)
    connection = connect(QueuePaths(tmp_path), Disk())
    connection.pragma("user_version", len(migrations()) + 1)
    connection.close()
    with pytest.raises(SchemaTooNew, match="later release"):
        create_database(tmp_path)


def test_foreign_database_is_refused(tmp_path: Path) -> None:
    connection = apsw.Connection(str(tmp_path / "queue.db"))
    connection.pragma("application_id", 42)
    connection.execute("CREATE TABLE mine (x)")
    connection.close()
    with pytest.raises(database.DatabaseError, match="not a queue"):
        create_database(tmp_path)


def test_a_database_older_than_its_spool_is_not_begun_with(tmp_path: Path) -> None:
    """Put back alone from a backup, it would take newer messages for nobody's."""
    create_database(tmp_path)
    (tmp_path / "spool" / "41-7.msg").write_bytes(b"mail")
    with pytest.raises(SpoolWithoutDatabase, match="older than its spool"):
        create_database(tmp_path)


def test_spool_without_its_database_is_not_thrown_away(tmp_path: Path) -> None:
    create_database(tmp_path)
    (tmp_path / "spool" / "3-1.msg").write_bytes(b"mail")
    (tmp_path / "queue.db").unlink()
    with pytest.raises(SpoolWithoutDatabase, match="restore"):
        create_database(tmp_path)
    assert not (tmp_path / "queue.db").exists()


@pytest.mark.parametrize("version", ["3.7.0", "3.40.1", "3.51.2"])
def test_library_that_corrupts_is_refused(version: str) -> None:
    with pytest.raises(LibraryTooOld, match=version):
        check_library(version)


@pytest.mark.parametrize("version", ["3.51.3", "3.54.1", "4.0.0"])
def test_repaired_library_is_taken(version: str) -> None:
    check_library(version)


def test_failed_migration_leaves_the_old_schema(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_database(tmp_path)
    steps = (*migrations(), "CREATE TABLE extra (x); SELECT nonsense FROM nowhere")
    monkeypatch.setattr(database, "migrations", lambda: steps)
    with pytest.raises(apsw.SQLError):
        create_database(tmp_path)
    connection = connect(QueuePaths(tmp_path), Disk())
    assert connection.pragma("user_version") == len(steps) - 1
    assert connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'extra'").fetchall() == []
    connection.close()


def test_next_migration_is_applied_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_database(tmp_path)
    steps = (*migrations(), "CREATE TABLE extra (x); INSERT INTO extra VALUES (1)")
    monkeypatch.setattr(database, "migrations", lambda: steps)
    create_database(tmp_path)
    create_database(tmp_path)
    connection = connect(QueuePaths(tmp_path), Disk())
    assert connection.execute("SELECT x FROM extra").fetchall() == [(1,)]
    connection.close()


def test_turns_exclude_each_other_within_a_process_too(tmp_path: Path) -> None:
    create_database(tmp_path)
    paths = QueuePaths(tmp_path)
    one, two = Turn(paths), Turn(paths)
    order: list[str] = []
    waiting = threading.Event()

    def second() -> None:
        waiting.set()
        with two:
            order.append("second")

    thread = threading.Thread(target=second)
    with one:
        thread.start()
        waiting.wait()
        thread.join(0.05)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    one.close()
    two.close()


def test_transaction_is_rolled_back_by_an_exception(tmp_path: Path) -> None:
    create_database(tmp_path)
    connection = connect(QueuePaths(tmp_path), Disk())

    def fail() -> None:
        with Transaction(connection):
            connection.execute("UPDATE counter SET generation = 99")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert connection.execute("SELECT generation FROM counter").fetchall() == [(0,)]
    assert not connection.in_transaction
    connection.close()


def test_release_of_owners(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path, owner=1) as one, opened(tmp_path, owner=2) as two:
            await one.add(message(routes=("a", "b")), lease=True)
            await two.add(message(), lease=True)
        assert release_owner(tmp_path, 9) == 0
        assert release_owner(tmp_path, 1) == 2
        assert release_owner(tmp_path, 1) == 0
        assert start_over(tmp_path, NOW) == 1
        async with opened(tmp_path) as store:
            assert len(await store.lease(now=NOW, limit=9)) == 3

    run(check())


def test_after_a_start_everything_is_due_at_once(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path) as store:
            await store.add(message(due=NOW + 3600), lease=False)
            await store.add(message(due=NOW - 60), lease=False)
            assert len(await store.lease(now=NOW, limit=9)) == 1
            await store.release_all()
        start_over(tmp_path, NOW)
        async with opened(tmp_path) as store:
            assert len(await store.lease(now=NOW, limit=9)) == 2

    run(check())


def test_a_worker_that_starts_frees_what_its_number_owned(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path, owner=1) as store:
            await store.add(message(), lease=True)
        async with opened(tmp_path, owner=1) as store:
            assert len(await store.lease(now=NOW, limit=9)) == 1

    run(check())
