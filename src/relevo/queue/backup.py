"""A consistent copy of a data directory, also while the server runs and without stopping it.

The database is copied first, as one snapshot; the spool files that it names follow. A message
that ends meanwhile may take its record along, since segments are used again: such a row is taken
out of the copy, so that the copy shows the queue as it might have been at one instant. A record
that is unreadable although its message still waits is damage, and is reported.

The copy of a segment ends behind the last record that a row names.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from relevo.queue.database import (
    DatabaseError,
    QueuePaths,
    Transaction,
    connect,
    create_database,
    damage,
)
from relevo.queue.disk import Disk
from relevo.queue.leases import content_of
from relevo.queue.records import HEADER_SIZE, Header, RecordDamaged
from relevo.queue.store import StoreFailed

_CHUNK = 1024 * 1024
_MODE = 0o600
_SECRET = "authn-secret"  # noqa: S105 - a file's name; written by relevo.authn

_FILES = "SELECT DISTINCT file FROM message WHERE file IS NOT NULL ORDER BY file"
_STARTS = "SELECT start FROM message WHERE file = ? AND start IS NOT NULL ORDER BY start DESC"
_CONTENTS = "SELECT id, file, start, size FROM message WHERE file IS NOT NULL ORDER BY id"
_PLACE = "SELECT file, start FROM message WHERE id = ?"
_MOVE = "UPDATE message SET file = ?, start = ? WHERE id = ?"
_TAKE_OUT = "DELETE FROM unit WHERE message = ?"
_RECOUNT = "UPDATE counter SET messages = (SELECT count(*) FROM message)"


@dataclass(slots=True)
class BackedUp:
    """What the copy holds."""

    messages: int = 0
    damaged: list[str] = field(default_factory=list)  # ids; the copy has them, unreadable as here


@dataclass(frozen=True, slots=True)
class _Copy:
    """Spool directories."""

    source: Path
    target: Path


def back_up(data_dir: Path, target: Path) -> BackedUp:
    """Copy into `target`, an empty directory; durable on return.

    Raises DatabaseError, OSError, apsw.Error; what is in `target` then is of no use.
    """
    source = QueuePaths(data_dir)
    copy = QueuePaths(target)
    if not source.database.exists():
        raise DatabaseError(f"there is no queue in {data_dir}: was the server ever started there?")
    disk = Disk()
    copy.spool.mkdir(mode=0o700)
    try:
        with contextlib.closing(connect(source, disk)) as live:
            _copy_database(live, copy)
            with contextlib.closing(connect(copy, disk)) as snapshot:
                for (name,) in snapshot.execute(_FILES).fetchall():
                    _copy_file(source.spool / str(name), copy.spool / str(name), snapshot)
                found = _settle(snapshot, live, _Copy(source.spool, copy.spool))
                snapshot.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise damage(source, error) from error
    _copy_secret(data_dir, target)
    for path in (*copy.spool.iterdir(), *target.iterdir()):
        if path.is_file():
            _sync(path)
    disk.sync_directory(copy.spool)
    disk.sync_directory(target)
    return found


def _copy_database(live: apsw.Connection, copy: QueuePaths) -> None:
    """One snapshot of all pages: writers go on meanwhile."""
    os.close(os.open(copy.database, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, _MODE))
    target = apsw.Connection(str(copy.database))
    try:
        with target.backup("main", live, "main") as pages:
            pages.step(-1)
    finally:
        target.close()
    create_database(copy.directory, sees_all=True)


def _copy_file(source: Path, target: Path, snapshot: apsw.Connection) -> None:
    """As much of a spool file as rows need; nothing of one that is gone."""
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        length = _needed(descriptor, snapshot, target.name)
        with os.fdopen(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _MODE), "wb") as file:
            for chunk in _chunks(descriptor, length):
                file.write(chunk)
    finally:
        os.close(descriptor)


def _needed(descriptor: int, snapshot: apsw.Connection, name: str) -> int:
    """Octets up to the end of the last record that a row names; a file of its own is needed whole.

    A record that is unreadable cannot say how long it is: the whole segment is taken.
    """
    whole = os.fstat(descriptor).st_size
    row = snapshot.execute(_STARTS, (name,)).fetchone()
    if row is None:
        return whole
    start = int(row[0])
    try:
        header = Header.unpack(os.pread(descriptor, HEADER_SIZE, start))
    except RecordDamaged:
        return whole
    return min(whole, start + header.record_length)


def _chunks(descriptor: int, length: int) -> Iterator[bytes]:
    at = 0
    while at < length and (chunk := os.pread(descriptor, min(_CHUNK, length - at), at)):
        yield chunk
        at += len(chunk)


def _settle(snapshot: apsw.Connection, live: apsw.Connection, copy: _Copy) -> BackedUp:
    """Look at every record of the copy; take out the messages that ended meanwhile."""
    found = BackedUp()
    gone = []
    rows: list[Any] = snapshot.execute(_CONTENTS).fetchall()
    for identity, file, start, size in rows:
        place = (file, start)
        while not _is_whole(copy.target, place, size):
            now_at: Any = live.execute(_PLACE, (identity,)).fetchone()
            if now_at is None:
                gone.append((identity,))
                break
            if now_at == place:
                found.damaged.append(str(identity))
                break
            place = now_at  # compaction has moved it
            _copy_file(copy.source / place[0], copy.target / place[0], snapshot)
            snapshot.execute(_MOVE, (*place, identity))
    with Transaction(snapshot):
        snapshot.executemany(_TAKE_OUT, gone)
        snapshot.execute(_RECOUNT)
    row = snapshot.execute("SELECT messages FROM counter").fetchone()
    assert row is not None
    found.messages = int(row[0])
    return found


def _is_whole(spool: Path, place: tuple[str, int | None], size: int) -> bool:
    try:
        for _ in content_of(None, *place, size, spool).chunks():
            pass
    except StoreFailed:
        return False
    return True


def _copy_secret(data_dir: Path, target: Path) -> None:
    """Made anew where it is missing, so it may be missing."""
    try:
        secret = (data_dir / _SECRET).read_bytes()
    except FileNotFoundError:
        return
    with os.fdopen(os.open(target / _SECRET, os.O_CREAT | os.O_WRONLY, _MODE), "wb") as file:
        file.write(secret)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
