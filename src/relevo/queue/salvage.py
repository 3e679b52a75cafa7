"""What can still be read of a damaged database, copied row by row into a new one.

Each table is read from its beginning as far as that goes, then from its end. Rows that make no
sense are left behind. The damaged files are opened without being changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import msgspec

from relevo.queue.records import decode_envelope, decode_recipients

_BATCH = 1000


Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class _Table:
    select: str  # in the order of the table itself, not of an index
    insert: str
    makes_sense: Callable[[Row], bool]


def _is_message(row: Row) -> bool:
    identity, created, size, envelope, content, file, start = row
    decode_envelope(envelope)
    return (
        isinstance(identity, str)
        and isinstance(created, float)
        and isinstance(size, int)
        and (isinstance(content, bytes) or isinstance(file, str))
        and isinstance(start, int | None)
    )


def _is_unit(row: Row) -> bool:
    identity, number, route, due, attempts, recipients = row
    decode_recipients(recipients)
    return (
        isinstance(identity, str)
        and isinstance(number, int)
        and isinstance(route, str)
        and isinstance(due, float)
        and isinstance(attempts, int)
    )


def _is_event(row: Row) -> bool:
    identity, n, time, kind, data = row
    return (
        isinstance(identity, str)
        and isinstance(n, int)
        and isinstance(time, float)
        and isinstance(kind, str)
        and isinstance(data, bytes)
    )


def _is_domain(row: Row) -> bool:
    name, incoming, outgoing, seen = row
    return (
        isinstance(name, str)
        and isinstance(incoming, int)
        and isinstance(outgoing, int)
        and isinstance(seen, float)
    )


_MESSAGES = _Table(
    "SELECT id, created, size, envelope, content, file, start FROM message NOT INDEXED"
    " ORDER BY rowid",
    "INSERT OR IGNORE INTO message (id, created, size, envelope, content, file, start)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)",
    _is_message,
)
_UNITS = _Table(
    "SELECT message, number, route, due, attempts, recipients FROM unit ORDER BY message",
    "INSERT OR IGNORE INTO unit (message, number, route, due, attempts, recipients)"
    " VALUES (?, ?, ?, ?, ?, ?)",
    _is_unit,
)
_EVENTS = _Table(
    "SELECT message, n, time, kind, data FROM event ORDER BY message",
    "INSERT OR IGNORE INTO event (message, n, time, kind, data) VALUES (?, ?, ?, ?, ?)",
    _is_event,
)
_DOMAINS = _Table(
    "SELECT name, incoming, outgoing, seen FROM domain ORDER BY name",
    "INSERT OR IGNORE INTO domain (name, incoming, outgoing, seen) VALUES (?, ?, ?, ?)",
    _is_domain,
)


@dataclass(frozen=True, slots=True)
class Salvaged:
    """How much was read."""

    messages: int = 0
    has_all_messages: bool = False  # so that what is not there has ended
    has_all_units: bool = False  # the same of the parts of messages
    generation: int = 0  # the last one given out, 0 if that cannot be read


def salvage(damaged: Path, target: apsw.Connection) -> Salvaged:
    """Copy what can be read of the database file into `target`, inside its transaction."""
    try:
        source = apsw.Connection(str(damaged), flags=apsw.SQLITE_OPEN_READWRITE)
    except apsw.Error:
        return Salvaged()
    try:
        source.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        messages, has_all_messages = _copy(source, target, _MESSAGES)
        _, has_all_units = _copy(source, target, _UNITS)
        _copy(source, target, _EVENTS)
        _copy(source, target, _DOMAINS)
        return Salvaged(
            messages,
            has_all_messages and _is_sound(source, "message"),
            has_all_units and _is_sound(source, "unit"),
            _generation(source),
        )
    finally:
        source.close(True)


def _copy(source: apsw.Connection, target: apsw.Connection, table: _Table) -> tuple[int, bool]:
    """How many rows were written, and whether every row of the table was."""
    before = target.total_changes()
    is_whole = True
    for direction in ("", " DESC"):
        try:
            for batch in _batches(source.execute(table.select + direction)):
                good = [row for row in batch if _passes(table, row)]
                is_whole = is_whole and len(good) == len(batch)
                target.executemany(table.insert, good)
        except apsw.Error:  # of the source; the other direction brings the other end
            is_whole = False
            continue
        break
    return target.total_changes() - before, is_whole


def _passes(table: _Table, row: Row) -> bool:
    try:
        return table.makes_sense(row)
    except (msgspec.MsgspecError, TypeError):
        return False


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows in pieces; those before an error come before the error."""
    batch: list[Row] = []
    iterator = iter(rows)
    while True:
        try:
            batch.append(next(iterator))
        except StopIteration:
            yield batch
            return
        except apsw.Error:
            yield batch
            raise
        if len(batch) == _BATCH:
            yield batch
            batch = []


def _is_sound(source: apsw.Connection, table: str) -> bool:
    try:
        return source.execute(f"PRAGMA quick_check('{table}')").fetchall() == [("ok",)]
    except apsw.Error:
        return False


def _generation(source: apsw.Connection) -> int:
    try:
        row = source.execute("SELECT generation FROM counter").fetchone()
    except apsw.Error:
        return 0
    return row[0] if row is not None and isinstance(row[0], int) else 0
