"""The database file: where it is, how it is opened, its schema, and whose turn it is to write.

`create_database` runs once in the supervisor, before workers are forked: two processes that both
made the file and switched it to WAL have raced to an error. Every write transaction of every
process happens inside `Turn`, a blocking `flock`: a queue in the kernel that is fair and costs
less than SQLite's own busy waiting. Checkpoints never happen inside a commit.

SQLite before 3.51.3 can corrupt a WAL database when two processes write and checkpoint at the same
moment; such a library is refused.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Self

import apsw

from relevo.queue.clock import count_from_now, is_from_the_future
from relevo.queue.disk import Disk
from relevo.queue.generations import SpoolName
from relevo.queue.schedule import HELD_UNTIL

_OLDEST_SQLITE = (3, 51, 3)
_APPLICATION_ID = 0x52564C51  # "RVLQ"
_PAGE_SIZE = 4096
_CACHE_KIB = 16 * 1024
_BUSY_MS = 10_000  # never waited for in normal work: turns are taken by flock
_CHECKED = ("counter", "message", "unit")  # tables without which nothing works
_LOOK_OVER = 0.25  # seconds
_LOOK_AT_START = 0.5
_STEPS_BETWEEN_LOOKS = 1000  # of SQLite's machine, at the clock
_STATEMENTS = 1024  # multi-row statements exist once for each number of rows

_TRY_NOW = (
    "UPDATE unit SET due = ? WHERE owner IS NULL AND due > ? AND due < ?"
    " AND (hold IS NULL OR attempts > 0)"
)

_Change = tuple[str, tuple[float, ...]]  # an UPDATE of units, its values


class DatabaseError(Exception):
    """The database cannot be used as it stands; the text says what to do. Root of its kind."""


class LibraryTooOld(DatabaseError):
    """The SQLite library has the WAL corruption that 3.51.3 repaired."""


class SchemaTooNew(DatabaseError):
    """The database was written by a later release."""


class SpoolWithoutDatabase(DatabaseError):
    """Spool files are there, but the database that names them is not."""


class DatabaseDamaged(DatabaseError):
    """The file is no database any more, or some of its pages are wrong."""


@dataclass(frozen=True, slots=True)
class QueuePaths:
    """The names inside a data directory."""

    directory: Path

    @property
    def database(self) -> Path:
        return self.directory / "queue.db"

    @property
    def wal(self) -> Path:
        return self.directory / "queue.db-wal"

    @property
    def lock(self) -> Path:
        return self.directory / "queue.lock"

    @property
    def spool(self) -> Path:
        return self.directory / "spool"


class Turn:
    """The right to write, one holder at a time over all processes and threads.

    Each holder has a `Turn` of its own: locks of one open file do not exclude each other. The
    kernel takes the lock back when a process dies, at whatever instruction.
    """

    def __init__(self, paths: QueuePaths) -> None:
        self._descriptor = os.open(paths.lock, os.O_RDWR | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._descriptor)


def check_library(version: str | None = None) -> None:
    """Raise LibraryTooOld when SQLite (`version`: the one in use) may corrupt the queue."""
    found = version or apsw.sqlite_lib_version()
    if tuple(int(part) for part in found.split(".")[:3]) < _OLDEST_SQLITE:
        wanted = ".".join(str(part) for part in _OLDEST_SQLITE)
        raise LibraryTooOld(
            f"apsw brings SQLite {found}, which can corrupt the queue when two processes write; "
            f"install apsw {wanted}.0 or later"
        )


def connect(paths: QueuePaths, disk: Disk) -> apsw.Connection:
    """A connection to an existing database, for one thread. Raises apsw.Error."""
    connection = apsw.Connection(
        str(paths.database),
        flags=apsw.SQLITE_OPEN_READWRITE,
        vfs=disk.vfs,
        statementcachesize=_STATEMENTS,
    )
    try:
        connection.set_busy_timeout(_BUSY_MS)
        connection.pragma("synchronous", "FULL")
        connection.pragma("cache_size", -_CACHE_KIB)
        connection.pragma("temp_store", "MEMORY")
        connection.wal_autocheckpoint(0)
    except apsw.Error:
        connection.close()
        raise
    return connection


class Transaction:
    """A write transaction; the caller has the turn. Rolled back by any exception."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


def create_database(data_dir: Path, disk: Disk | None = None, *, sees_all: bool = False) -> None:
    """Make the data directory's database, or bring an older one up to date.

    Pages of one that is there are looked at: all of them with `sees_all` or if they are few, else
    for half a second (`relevo queue repair` and a backup read all). Idempotent. The caller holds
    the data directory; no worker runs yet. Raises DatabaseError, OSError or apsw.Error.
    """
    check_library()
    disk = disk or Disk()
    paths = QueuePaths(data_dir)
    paths.spool.mkdir(mode=0o700, parents=True, exist_ok=True)
    is_there = paths.database.exists() and paths.database.stat().st_size
    if not is_there and _has_messages(paths):
        raise _without_database(paths, "missing")
    os.close(os.open(paths.lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    # SQLite creates with the process's mode; the queue holds mail, so make the file ourselves.
    os.close(os.open(paths.database, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    try:
        _prepare(paths, disk, inf if sees_all else _LOOK_AT_START)
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise damage(paths, error) from error
    disk.sync_directory(paths.directory)
    if paths.directory.parent != paths.directory:
        disk.sync_directory(paths.directory.parent)


def damage(paths: QueuePaths, error: object) -> DatabaseDamaged:
    """What to say of a database that SQLite cannot read."""
    return DatabaseDamaged(
        f"{paths.database} is damaged ({error}): stop the server, then restore the directory from "
        f"a backup, or rebuild the queue with `relevo queue repair`"
    )


def _has_messages(paths: QueuePaths) -> bool:
    return any(paths.spool.glob("*-*.*"))


def _without_database(paths: QueuePaths, what: str) -> SpoolWithoutDatabase:
    return SpoolWithoutDatabase(
        f"{paths.database} is {what}, but {paths.spool} holds messages: restore both from a "
        f"backup, or rebuild the database with `relevo queue repair`"
    )


def _prepare(paths: QueuePaths, disk: Disk, seconds: float) -> None:
    connection = apsw.Connection(str(paths.database), vfs=disk.vfs)
    try:
        connection.set_busy_timeout(_BUSY_MS)
        connection.pragma("page_size", _PAGE_SIZE)
        mode = connection.pragma("journal_mode", "wal")
        if mode != "wal":
            raise DatabaseError(f"{paths.database}: the file system allows no WAL (got {mode})")
        connection.pragma("synchronous", "FULL")
        _migrate(connection, paths)
        look_over(connection, paths, seconds)
        _check_age(connection, paths)
    finally:
        connection.close()


def _check_tables(connection: apsw.Connection, paths: QueuePaths) -> None:
    """Look at all pages that the queue needs; the history may be long and is not read here."""
    for table in _CHECKED:
        for (verdict,) in connection.execute(f"PRAGMA quick_check('{table}')"):
            if verdict != "ok":
                raise damage(paths, verdict)


def look_over(connection: apsw.Connection, paths: QueuePaths, seconds: float | None = None) -> None:
    """A check of the queue's tables that ends in time, for a server that runs or is to run.

    A small queue is seen whole, of a large one as much as there is time for.
    Raises DatabaseDamaged; apsw.Error.
    """
    end = time.monotonic() + (_LOOK_OVER if seconds is None else seconds)
    connection.set_progress_handler(lambda: time.monotonic() >= end, _STEPS_BETWEEN_LOOKS)
    try:
        _check_tables(connection, paths)
    except apsw.InterruptError:
        pass
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise damage(paths, error) from error
    finally:
        connection.set_progress_handler(None)


def _check_age(connection: apsw.Connection, paths: QueuePaths) -> None:
    """No spool file may be of a generation that the database has not given out yet."""
    row = connection.execute("SELECT generation FROM counter").fetchone()
    known = row[0] if row is not None and isinstance(row[0], int) else 0
    if newest_generation(paths.spool) > known:
        raise _without_database(paths, "older than its spool (an old copy, or without its -wal)")


def newest_generation(spool: Path) -> int:
    """The highest in the names of its files; 0 where there are none."""
    names = (SpoolName.parse(path.name) for path in spool.iterdir())
    return max((name.generation for name in names if name is not None), default=0)


def migrations() -> tuple[str, ...]:
    """The SQL of each schema version, from 1."""
    folder = resources.files(__package__) / "migrations"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return tuple((folder / name).read_text(encoding="utf-8") for name in names)


def _migrate(connection: apsw.Connection, paths: QueuePaths) -> None:
    """Apply the missing migrations, all in one transaction."""
    steps = migrations()
    with Transaction(connection):
        application = connection.pragma("application_id")
        version = connection.pragma("user_version")
        if application not in {0, _APPLICATION_ID}:
            raise DatabaseError(f"{paths.database} is not a queue of relevo")
        if version == 0 and _has_messages(paths):  # they would be swept as nobody's
            raise _without_database(paths, "empty")
        if version > len(steps):
            raise SchemaTooNew(
                f"{paths.database} has schema {version}, this release knows {len(steps)}: "
                f"it was written by a later release, install that one"
            )
        for number, sql in enumerate(steps[version:], start=version + 1):
            connection.execute(sql).fetchall()
            connection.pragma("user_version", number)
        connection.pragma("application_id", _APPLICATION_ID)


def release_owner(data_dir: Path, owner: int) -> int:
    """Give back the leases of a worker that died; returns how many units that were.

    Safe beside running workers. Units are due as before. Raises DatabaseError.
    """
    return _update_units(data_dir, [("UPDATE unit SET owner = NULL WHERE owner = ?", (owner,))])


def start_over(data_dir: Path, now: float, *, tries_all: bool = True, workers: int = 0) -> int:
    """At start, when no worker can be running: no unit is leased.

    With `tries_all` what waited, and is held by nobody, is tried at once, however long it was to
    wait: what kept it may be what made the operator restart. Otherwise the backlogs of the first
    `workers` stay as they are, for those who get their numbers. A message from the future (the
    clock was set back) is as old as if it had just come. Returns how many units changed. Raises
    DatabaseError.
    """
    changes: list[_Change] = [
        ("UPDATE unit SET owner = NULL WHERE owner >= 0", ()),
        ("UPDATE unit SET owner = NULL WHERE owner < ?", (0 if tries_all else -workers,)),
    ]
    if tries_all:
        changes.append((_TRY_NOW, (now, now, HELD_UNTIL)))
    return _update_units(data_dir, changes, started_at=now)


def _update_units(
    data_dir: Path, changes: Sequence[_Change], *, started_at: float | None = None
) -> int:
    """Each of them finds its rows by an index. Returns how many units changed."""
    paths = QueuePaths(data_dir)
    try:
        with (
            contextlib.closing(connect(paths, Disk())) as connection,
            contextlib.closing(Turn(paths)) as turn,
            turn,
            Transaction(connection),
        ):
            if started_at is not None and is_from_the_future(connection, started_at):
                count_from_now(connection, started_at)
            before = connection.total_changes()
            for change, values in changes:
                connection.execute(change, values)
            return connection.total_changes() - before
    except (apsw.Error, OSError) as error:
        raise DatabaseError(f"{paths.database}: {error}") from error
