"""Rebuilding a queue whose database is damaged or missing, from what can still be read.

Rows that the damaged database still gives are kept as they are. Records in the spool bring back
what has no row, unless it is known to have ended: because the history says so, or because the
table of messages is whole and does not name it. Where neither is known, a message that was
delivered already may be delivered once more; that is said, since losing it would be worse.

The damaged files are moved aside, never changed. No server runs meanwhile: the caller holds the
data directory.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import apsw

from relevo.queue.database import (
    DatabaseError,
    QueuePaths,
    Transaction,
    connect,
    create_database,
    newest_generation,
)
from relevo.queue.disk import Disk
from relevo.queue.found_records import FoundRecord, find_records
from relevo.queue.leases import content_of
from relevo.queue.loading import give_to_owner
from relevo.queue.quarantine import DROPPED, EXPIRED, ROUTE
from relevo.queue.records import encode
from relevo.queue.salvage import Salvaged, salvage
from relevo.queue.schedule import HELD_UNTIL
from relevo.queue.store import StoreFailed
from relevo.queue.wishes import put_back

_HAS_MESSAGE = "SELECT 1 FROM message WHERE id = ?"
_HAS_UNITS = "SELECT 1 FROM unit WHERE message = ? LIMIT 1"
_HAS_ENDED = (
    "SELECT 1 FROM event WHERE message = ? AND (kind = 'done'"
    " OR kind = 'operator-action' AND json_extract(CAST(data AS TEXT), '$.action') IN (?, ?, ?))"
)
_WAS_RELEASED = "SELECT 1 FROM event WHERE message = ? AND kind = 'released'"
_LEAVE_QUARANTINE = "DELETE FROM unit WHERE message = ? AND route = ?"
_ENDINGS = ("drop", DROPPED, EXPIRED)  # by hand, or by age
_INSERT_MESSAGE = (
    "INSERT INTO message (id, created, size, envelope, content, file, start)"
    " VALUES (?, ?, ?, ?, NULL, ?, ?)"
)
_INSERT_UNIT = (
    "INSERT OR IGNORE INTO unit (message, number, route, due, attempts, owner, recipients)"
    " VALUES (?, ?, ?, ?, 0, NULL, ?)"
)
_WITHOUT_UNITS = (
    "SELECT id FROM message WHERE NOT EXISTS (SELECT 1 FROM unit WHERE message = id) ORDER BY id"
)
_WITHOUT_MESSAGE = (
    "SELECT DISTINCT message FROM unit"
    " WHERE NOT EXISTS (SELECT 1 FROM message WHERE id = unit.message) ORDER BY message"
)
_RECOUNT = (
    "UPDATE counter SET messages = (SELECT count(*) FROM message),"
    " events = (SELECT count(*) FROM event), generation = max(generation, ?)"
)
_CONTENTS = "SELECT id, content, file, start, size FROM message ORDER BY id"


@dataclass(slots=True)
class Repaired:
    """What a repair did. Lists are of message ids."""

    is_sound: bool = False  # nothing was wrong with the database, nothing was changed
    kept: int = 0  # messages whose rows were read
    rebuilt: list[str] = field(default_factory=list)  # from records: may be delivered once more
    ended: int = 0  # messages with a record that are known to have ended
    no_content: list[str] = field(default_factory=list)  # rows say it waited, its content is gone
    no_recipients: list[str] = field(default_factory=list)  # content is left in the damaged file
    damaged: list[str] = field(default_factory=list)  # waits, but its content cannot be read
    moved_to: Path | None = None  # where the damaged files are now


def repair(data_dir: Path, *, now: float, label: str) -> Repaired:
    """Make the queue usable again; `label` becomes part of the name of the folder moved to.

    Raises DatabaseError (there is nothing of a queue), OSError, apsw.Error: nothing has changed
    then.
    """
    paths = QueuePaths(data_dir)
    if not paths.spool.is_dir() and not paths.database.exists():
        raise DatabaseError(f"there is no queue in {data_dir}: was the server ever started there?")
    if paths.database.exists() and _is_sound(paths):
        create_database(data_dir)
        return Repaired(is_sound=True, damaged=_unreadable(paths))
    paths.spool.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".repair-", dir=data_dir) as name:
        new = QueuePaths(Path(name))
        create_database(new.directory)
        found = _rebuild(paths, new, now)
        found.moved_to = _exchange(paths, new, data_dir / f"queue-damaged-{label}")
    create_database(data_dir)
    for path in (paths.database, paths.lock, paths.spool):
        give_to_owner(path, data_dir)
    found.damaged = _unreadable(paths)
    return found


def _is_sound(paths: QueuePaths) -> bool:
    """Whether the whole database is readable, the history too, and belongs to the spool."""
    try:
        connection = connect(paths, Disk())
    except apsw.Error:
        return False
    try:
        row: Any = connection.execute("SELECT generation FROM counter").fetchone()
        is_of_this_spool = row is not None and row[0] >= newest_generation(paths.spool)
        verdict = connection.execute("PRAGMA integrity_check(1)").fetchone()
    except apsw.Error:
        return False
    else:
        return is_of_this_spool and verdict == ("ok",)
    finally:
        connection.close(True)


def _rebuild(paths: QueuePaths, new: QueuePaths, now: float) -> Repaired:
    """A new database from the old one's rows and the spool's records."""
    found = Repaired()
    connection = connect(new, Disk())
    try:
        with Transaction(connection):
            salvaged = Salvaged()
            if paths.database.exists():
                salvaged = salvage(paths.database, connection)
            newest = newest_generation(paths.spool)
            if salvaged.generation < newest:  # an old copy knows nothing of what has ended since
                salvaged = replace(salvaged, has_all_messages=False, has_all_units=False)
            found.kept = salvaged.messages
            for record in find_records(paths.spool):
                _consider(connection, record, found, salvaged, now)
            _leave_out(connection, found)
            put_back(connection)
            connection.execute(_RECOUNT, (max(salvaged.generation, newest),))
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    finally:
        connection.close()
    return found


def _consider(
    connection: apsw.Connection,
    record: FoundRecord,
    found: Repaired,
    salvaged: Salvaged,
    now: float,
) -> None:
    """Rows for a record that lacks them, unless its message is known to have ended."""
    metadata = record.metadata
    identity = metadata.id
    if metadata.envelope.quarantine is not None:
        if connection.execute(_WAS_RELEASED, (identity,)).fetchone():
            return  # another record is what became of it
    elif not salvaged.has_all_messages:  # released, and an older record was found before
        connection.execute(_LEAVE_QUARANTINE, (identity, ROUTE))
    has_message = connection.execute(_HAS_MESSAGE, (identity,)).fetchone() is not None
    has_units = connection.execute(_HAS_UNITS, (identity,)).fetchone() is not None
    if not has_message and not has_units:
        has_ended = connection.execute(_HAS_ENDED, (identity, *_ENDINGS)).fetchone() is not None
        if has_ended or salvaged.has_all_messages:
            found.ended += 1
            return
    if not has_message:
        envelope = encode(metadata.envelope)
        row = (identity, metadata.created, record.size, envelope, record.file, record.start)
        connection.execute(_INSERT_MESSAGE, row)
    if has_units and salvaged.has_all_units:
        return
    before = connection.total_changes()
    rows = [
        (
            identity,
            number,
            unit.route,
            unit.due if unit.due >= HELD_UNTIL else now,
            encode(unit.recipients),
        )
        for number, unit in enumerate(metadata.units)
    ]
    connection.executemany(_INSERT_UNIT, rows)
    if connection.total_changes() > before:
        found.rebuilt.append(identity)


def _leave_out(connection: apsw.Connection, found: Repaired) -> None:
    """Halves of messages: they stay in the damaged file, and are named."""
    found.no_recipients = [str(row[0]) for row in connection.execute(_WITHOUT_UNITS)]
    found.no_content = [str(row[0]) for row in connection.execute(_WITHOUT_MESSAGE)]
    found.kept -= len(found.no_recipients)
    connection.executemany(
        "DELETE FROM message WHERE id = ?", [(one,) for one in found.no_recipients]
    )
    connection.executemany(
        "DELETE FROM unit WHERE message = ?", [(one,) for one in found.no_content]
    )


def _exchange(paths: QueuePaths, new: QueuePaths, aside: Path) -> Path | None:
    """The new database in the old one's place; returns where the old files are, if any were."""
    disk = Disk()
    old = [
        path
        for path in (paths.database, paths.wal, paths.wal.with_name("queue.db-shm"))
        if path.exists()
    ]
    if old:
        aside.mkdir(mode=0o700)
        give_to_owner(aside, paths.directory)
        for path in old:
            os.link(path, aside / path.name)
        disk.sync_directory(aside)
        disk.sync_directory(paths.directory)
    # The old WAL must be gone before the new database has its name, or it would be applied to it.
    for path in old[1:]:
        path.unlink()
    disk.sync_directory(paths.directory)
    new.database.replace(paths.database)
    disk.sync_directory(paths.directory)
    return aside if old else None


def _unreadable(paths: QueuePaths) -> list[str]:
    """Messages that wait but whose content cannot be read."""
    damaged = []
    connection = connect(paths, Disk())
    try:
        for identity, blob, file, start, size in connection.execute(_CONTENTS):
            try:
                for _ in content_of(blob, file, start, size, paths.spool).chunks():
                    pass
            except StoreFailed:
                damaged.append(str(identity))
    finally:
        connection.close()
    return damaged
