"""Leases: which units are due, who owns them, and rows turned back into values."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import apsw
import msgspec

from relevo.queue.content import StoredContent, file_content, segment_content
from relevo.queue.generations import OWN_FILE, SEGMENT, SpoolName
from relevo.queue.records import decode_envelope, decode_recipients
from relevo.queue.spool import SpooledContent
from relevo.queue.store import Content, MemoryContent, MessageId, StoreFailed, Unit

_log = logging.getLogger(__name__)

TO_REPAIR = "stop the server and run `relevo queue repair`"

_NEXT_DUE = "SELECT due FROM unit WHERE owner IS NULL ORDER BY due LIMIT 1"
_COUNT = "SELECT messages FROM counter"
_LEASE = """
UPDATE unit SET owner = ? FROM (
    SELECT message AS m, number AS n FROM unit
    WHERE owner IS NULL AND due <= ? ORDER BY due LIMIT ?
) WHERE message = m AND number = n
RETURNING message, number
"""
_LEASED = """
SELECT message, number, route, due, attempts, recipients, created, size, envelope, content, file,
    start
FROM unit JOIN message ON id = message WHERE message = ? AND number = ?
"""
_RELEASE = "UPDATE unit SET owner = NULL WHERE owner = ?"  # its backlog stays


class LeasedRow(NamedTuple):
    """A leased unit with its message, as it stands in the database."""

    message: str
    number: int
    route: str
    due: float
    attempts: int
    recipients: bytes
    created: float
    size: int
    envelope: bytes
    content: bytes | None
    file: str | None
    start: int | None


def as_int(value: object) -> int:
    assert isinstance(value, int)
    return value


def next_due(connection: apsw.Connection) -> float | None:
    """When the next waiting unit is due."""
    row = connection.execute(_NEXT_DUE).fetchone()
    return None if row is None else float(row[0])


def count(connection: apsw.Connection) -> int:
    """Messages in the queue."""
    row = connection.execute(_COUNT).fetchone()
    assert row is not None
    return as_int(row[0])


def lease(connection: apsw.Connection, owner: int, now: float, limit: int) -> list[LeasedRow]:
    """Own the units that are due, oldest due first; inside the caller's transaction.

    One whose message cannot be read is logged and left out; it stays leased, as in `units_of`.
    """
    keys = connection.execute(_LEASE, (owner, now, limit)).fetchall()
    rows = []
    for key in keys:
        try:
            row = connection.execute(_LEASED, key).fetchone()
        except apsw.CorruptError as error:
            _log.error("%s: unit %d is held: %s; %s", *key, error, TO_REPAIR)
            continue
        if row is None:
            _log.error("%s: unit %d is held: it has no message; %s", *key, TO_REPAIR)
            continue
        rows.append(LeasedRow(*row))
    return sorted(rows, key=lambda row: row.due)


def release_owner(connection: apsw.Connection, owner: int) -> int:
    """Give back all units of a worker."""
    connection.execute(_RELEASE, (owner,))
    return connection.changes()


def key_of(row: object) -> tuple[str, int]:
    assert isinstance(row, LeasedRow)
    return (row.message, row.number)


def unit_of(row: LeasedRow, spool: Path) -> Unit:
    """The value of a leased row; large content is opened when it is read.

    Raises StoreFailed for a row that makes no sense.
    """
    content = content_of(row.content, row.file, row.start, row.size, spool)
    try:
        envelope, recipients = decode_envelope(row.envelope), decode_recipients(row.recipients)
    except (msgspec.MsgspecError, ValueError) as error:
        raise StoreFailed(f"unreadable: {error}") from error
    return Unit(
        MessageId(row.message), row.route, row.number, row.created, row.attempts,
        envelope, recipients, content, row.due,
    )  # fmt: skip


def units_of(rows: Iterable[LeasedRow], spool: Path) -> tuple[Unit, ...]:
    """The values of leased rows. One that makes no sense is logged and left out: it stays leased,
    so that it neither keeps the others waiting nor is leased again and again.
    """
    units: list[Unit] = []
    for row in rows:
        try:
            units.append(unit_of(row, spool))
        except StoreFailed as error:
            _log.error("%s: unit %d is held: %s; %s", row.message, row.number, error, TO_REPAIR)
    return tuple(units)


def content_of(
    blob: bytes | None, file: str | None, start: int | None, size: int, spool: Path
) -> Content:
    """Content from the columns of a message row. Raises StoreFailed for columns of no sense."""
    if blob is not None:
        return MemoryContent(blob)
    name = SpoolName.parse(file or "")
    if name is not None and name.kind == SEGMENT and start is not None:
        return segment_content(spool / str(name), name.number, start, size)
    if name is not None and name.kind == OWN_FILE:
        return file_content(spool / str(name), name.number, size)
    raise StoreFailed(f"message row without content (file {file!r})")


def own_file(content: Content) -> str | None:
    """The file that goes with a message's last unit, if the content is a file of its own."""
    if isinstance(content, SpooledContent):
        return content.name
    if isinstance(content, StoredContent) and content.path.suffix == f".{OWN_FILE}":
        return content.path.name
    return None
