"""One group commit: the rows of everything that waited, in one transaction.

Statements carry all rows of their kind at once. That is not only fewer calls: with each statement
the writer thread gives up the interpreter lock and has to win it back from a busy loop, and with
one statement a row that alone made it a hundred times slower (measured).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from functools import lru_cache
from itertools import chain

import apsw

from relevo.queue.history import EventRow
from relevo.queue.wishes import SET_WISHES, WishRow
from relevo.value import dataclass

MessageRow = tuple[str, float, int, bytes, bytes | None, str | None, int | None]
UnitRow = tuple[str, int, str, float, int, int | None, bytes]
UnitKey = tuple[str, int]
UnitChange = tuple[str, int, float, bytes]  # message, number, due, recipients

_MOST_ROWS = 64  # of a statement; every number up to it has a cached statement of its own

_INSERT_MESSAGES = (
    "INSERT INTO message (id, created, size, envelope, content, file, start) VALUES {rows}"
)
_INSERT_UNITS = (
    "INSERT INTO unit (message, number, route, due, attempts, owner, recipients) VALUES {rows}"
)
_INSERT_EVENTS = "INSERT OR IGNORE INTO event (message, n, time, kind, data) VALUES {rows}"
_END_UNITS = "DELETE FROM unit WHERE owner = {owner} AND (message, number) IN (VALUES {rows})"
_CHANGE_UNITS = (
    "UPDATE unit SET due = new.column3, recipients = new.column4, attempts = attempts + 1,"
    " owner = NULL FROM (VALUES {rows}) AS new"
    " WHERE message = new.column1 AND number = new.column2 AND owner = {owner}"
)
_RELEASE_UNITS = (
    "UPDATE unit SET owner = NULL WHERE owner = {owner} AND (message, number) IN (VALUES {rows})"
)
_COUNT = "UPDATE counter SET messages = messages + ?, events = events + ? RETURNING messages"


@dataclass(frozen=True, slots=True)
class NewRows:
    """A message on its way into the database."""

    message: MessageRow
    units: Sequence[UnitRow]
    events: list[EventRow]
    record: tuple[bytes, bytes] | None  # metadata and content for the segment
    wishes: WishRow | None = None


@dataclass(slots=True)
class Adding:
    """A request to add a message."""

    future: asyncio.Future[None]
    rows: NewRows
    is_leased: bool


@dataclass(slots=True)
class Finishing:
    """A request to end the lease of a unit: `change` None when the unit goes."""

    future: asyncio.Future[None]
    key: UnitKey
    change: UnitChange | None
    events: list[EventRow]
    dsns: list[NewRows] = field(default_factory=list)


@dataclass(slots=True)
class Calling:
    """A request for anything else, inside the transaction or (a look) outside of it."""

    future: asyncio.Future[object]
    work: Callable[[apsw.Connection], object]
    is_look: bool = False
    result: object = None


Request = Adding | Finishing | Calling


@lru_cache(maxsize=2048)
def _statement(template: str, width: int, count: int, owner: int) -> str:
    row = "(" + ",".join("?" * width) + ")"
    return template.format(rows=",".join([row] * count), owner=owner)


def _run(
    connection: apsw.Connection, template: str, rows: Sequence[tuple[object, ...]], owner: int = 0
) -> int:
    """Execute with all rows, in as few statements as allowed; returns how many rows changed."""
    changed = 0
    for group in _groups(rows):
        sql = _statement(template, len(group[0]), len(group), owner)
        connection.execute(sql, tuple(chain.from_iterable(group)))
        changed += connection.changes()
    return changed


def _groups(rows: Sequence[tuple[object, ...]]) -> Iterator[Sequence[tuple[object, ...]]]:
    if len(rows) <= _MOST_ROWS:
        if rows:
            yield rows
        return
    for first in range(0, len(rows), _MOST_ROWS):
        yield rows[first : first + _MOST_ROWS]


class Batch:
    """The rows of one transaction, gathered from requests."""

    def __init__(self, owner: int) -> None:
        self._owner = owner
        self._messages: list[MessageRow] = []
        self._units: list[UnitRow] = []
        self._wishes: list[WishRow] = []
        self._events: list[EventRow] = []
        self._ended: list[UnitKey] = []
        self._changed: list[UnitChange] = []
        self._with_dsns: list[Finishing] = []
        self._calls: list[Calling] = []

    def gather(self, request: Request, place: Callable[[bytes, bytes], tuple[str, int]]) -> None:
        """Take the rows of a request; `place` appends content to the segment. Raises OSError."""
        if isinstance(request, Adding):
            self._gather_rows(request.rows, place)
        elif isinstance(request, Finishing):
            self._events += request.events
            if request.dsns:
                request.dsns = [_placed(rows, place) for rows in request.dsns]
                self._with_dsns.append(request)
            elif request.change is None:
                self._ended.append(request.key)
            else:
                self._changed.append(request.change)
        else:
            self._calls.append(request)

    def _gather_rows(self, rows: NewRows, place: Callable[[bytes, bytes], tuple[str, int]]) -> None:
        self._take(_placed(rows, place))

    def _take(self, rows: NewRows) -> None:
        self._messages.append(rows.message)
        self._units += rows.units
        self._events += rows.events
        if rows.wishes is not None:
            self._wishes.append(rows.wishes)

    def add_events(self, events: list[EventRow]) -> None:
        self._events += events

    def execute(self, connection: apsw.Connection) -> int:
        """Everything gathered, inside the caller's transaction; returns the messages now queued."""
        before = connection.total_changes()
        ended = _run(connection, _END_UNITS, self._ended, self._owner)
        gone = connection.total_changes() - before - ended
        for request in self._with_dsns:
            gone += self._finish_with_dsns(connection, request)
        _run(connection, _CHANGE_UNITS, self._changed, self._owner)
        _run(connection, _INSERT_MESSAGES, self._messages)
        _run(connection, _INSERT_UNITS, self._units)
        for wishes in self._wishes:
            connection.execute(SET_WISHES, wishes)
        events = _run(connection, _INSERT_EVENTS, self._events)
        for call in self._calls:
            call.result = call.work(connection)
        row = connection.execute(_COUNT, (len(self._messages) - gone, events)).fetchone()
        assert row is not None
        return int(row[0])

    def _finish_with_dsns(self, connection: apsw.Connection, request: Finishing) -> int:
        """DSNs are queued only when the unit was still there: an operator may have dropped it."""
        before = connection.total_changes()
        if request.change is None:
            found = _run(connection, _END_UNITS, [request.key], self._owner)
        else:
            found = _run(connection, _CHANGE_UNITS, [request.change], self._owner)
        gone = connection.total_changes() - before - found
        if found:
            for rows in request.dsns:
                self._take(rows)
        return gone


def _placed(rows: NewRows, place: Callable[[bytes, bytes], tuple[str, int]]) -> NewRows:
    """Rows whose content has its place in the segment, if it belongs there."""
    if rows.record is None:
        return rows
    file, start = place(*rows.record)
    identity, created, size, envelope, content, _, _ = rows.message
    message = (identity, created, size, envelope, content, file, start)
    return NewRows(message, rows.units, rows.events, None, rows.wishes)


def release_units(connection: apsw.Connection, owner: int, keys: Sequence[UnitKey]) -> int:
    """Give back leases, inside the caller's transaction."""
    return _run(connection, _RELEASE_UNITS, keys, owner)
