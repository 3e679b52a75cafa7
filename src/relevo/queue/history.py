"""History: what happened to mail, as rows beside the queue.

An event is one row: its message's id, a number that orders and names it, time, kind and JSON.
Events of the queue's own steps commit with the step; others (`Store.record`) wait in a bounded
buffer for the next commit, a second at most. Finding an address is a scan of the rows, newest
first: an index over addresses would cost every commit, a scan costs the one who asks.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator

import apsw
import msgspec

from relevo.journal.events import (
    Accepted,
    Attempted,
    Authenticated,
    Done,
    DsnSent,
    Event,
    HookVerdict,
    Listening,
    OperatorAction,
    Quarantined,
    Rejected,
    Released,
    Waiting,
)
from relevo.queue.ids import time_prefix

EventRow = tuple[str, int, float, str, bytes]  # message, n, time, kind, data

_WRITERS = 64  # low part of n: who wrote it
_BUFFERED = 10_000
_encode = msgspec.json.Encoder().encode
_KINDS: dict[type, str] = {
    Listening: "listening",
    Authenticated: "authenticated",
    Rejected: "rejected",
    Accepted: "accepted",
    Attempted: "attempted",
    Waiting: "waiting",
    Done: "done",
    DsnSent: "dsn-sent",
    HookVerdict: "hook-verdict",
    OperatorAction: "operator-action",
    Quarantined: "quarantined",
    Released: "released",
}
_DECODERS: dict[str, msgspec.json.Decoder[Event]] = {
    name: msgspec.json.Decoder(kind) for kind, name in _KINDS.items()
}

_OF_MESSAGE = "SELECT kind, data FROM event WHERE message = ? ORDER BY time, n LIMIT ?"
_LATEST = "SELECT kind, data FROM event ORDER BY message DESC, n DESC LIMIT ?"
_OLDEST = "SELECT message FROM event ORDER BY message LIMIT 1"
_EDGE = "SELECT message FROM event ORDER BY message LIMIT 1 OFFSET ?"
_PRUNE = "DELETE FROM event WHERE message < ?"
_PRUNE_ONE = "DELETE FROM event WHERE message = ?"
_MENTIONS = (
    "SELECT DISTINCT message FROM event"
    " WHERE instr(lower(CAST(data AS TEXT)), lower(?)) ORDER BY message DESC LIMIT ?"
)
_COUNT = "SELECT events FROM counter"
_UNCOUNT = "UPDATE counter SET events = events - ?"


class Numbers:
    """The n of rows: microseconds that only grow, and the writer's number below them."""

    def __init__(self, writer: int) -> None:
        self._writer = writer % _WRITERS
        self._last = 0

    def next(self) -> int:
        now = time.time_ns() // 1000 * _WRITERS
        self._last = now if now > self._last else self._last + _WRITERS
        return self._last + self._writer

    def row(self, event: Event) -> EventRow:
        """The row of an event. What no message owns is filed under its time."""
        identity = getattr(event, "message_id", "") or time_prefix(event.time)
        return (identity, self.next(), event.time, _KINDS[type(event)], encode_event(event))

    def rows(self, events: Iterable[Event]) -> list[EventRow]:
        return [self.row(event) for event in events]


def encode_event(event: Event) -> bytes:
    """JSON; octets that were no UTF-8 when they were decoded become U+FFFD."""
    try:
        return _encode(event)
    except UnicodeEncodeError:
        builtins = msgspec.to_builtins(event)
        return _encode(_readable(builtins))


def _readable(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    if isinstance(value, dict):
        return {key: _readable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_readable(item) for item in value]
    return value


def decode_event(kind: str, data: bytes) -> Event | None:
    """None for what a later or damaged release wrote."""
    decoder = _DECODERS.get(kind)
    try:
        return decoder and decoder.decode(data)
    except msgspec.MsgspecError:
        return None


class Buffer:
    """Events that wait for the next commit. Bounded: the oldest go first, and are counted."""

    def __init__(self) -> None:
        self._rows: deque[EventRow] = deque(maxlen=_BUFFERED)
        self.lost = 0

    def append(self, row: EventRow) -> None:
        if len(self._rows) == _BUFFERED:
            self.lost += 1
        self._rows.append(row)

    def take(self) -> list[EventRow]:
        """Everything that waits. Called by the writer thread while the loop appends."""
        return [self._rows.popleft() for _ in range(len(self._rows))]

    def give_back(self, rows: list[EventRow]) -> None:
        """Rows that were taken and could not be written; as many as there is room for."""
        kept = rows[max(0, len(rows) + len(self._rows) - _BUFFERED) :]
        self.lost += len(rows) - len(kept)
        self._rows.extendleft(reversed(kept))

    def __len__(self) -> int:
        return len(self._rows)


def events_of(connection: apsw.Connection, message: str, limit: int) -> Iterator[Event]:
    """The events of a message in the order of time, those of this release's kinds."""
    for kind, data in connection.execute(_OF_MESSAGE, (message, limit)):
        event = decode_event(str(kind), bytes(data))
        if event is not None:
            yield event


def latest(connection: apsw.Connection, limit: int) -> Iterator[Event]:
    """The events of the newest messages, and those without one, from the end of the key."""
    for kind, data in connection.execute(_LATEST, (limit,)):
        event = decode_event(str(kind), bytes(data))
        if event is not None:
            yield event


def messages_mentioning(connection: apsw.Connection, text: str, limit: int) -> list[str]:
    """Ids with an event that names an address, newest first. Scans; ASCII case is ignored.

    The address must be a whole value: `ann@x.test` is not found in `joann@x.test`. What no message
    owns (a rejection) stands under its time.
    """
    needle = _encode(text).decode()
    return [str(row[0]) for row in connection.execute(_MENTIONS, (needle, limit))]


def prune(connection: apsw.Connection, *, oldest: float, most: int, batch: int) -> int:
    """Remove up to about `batch` rows that are too old or too many, whole messages at a time.

    Inside the caller's transaction. Returns how many went; 0: nothing is left to do.
    """
    row = connection.execute(_COUNT).fetchone()
    surplus = int(row[0]) - most if row is not None else 0
    first = connection.execute(_OLDEST).fetchone()
    limit = time_prefix(oldest)
    if first is None or (surplus <= 0 and str(first[0]) >= limit):
        return 0
    wanted = batch if str(first[0]) < limit else min(batch, surplus)
    edge_row = connection.execute(_EDGE, (wanted,)).fetchone()
    if edge_row is not None and str(edge_row[0]) > str(first[0]):
        edge = str(edge_row[0])
        connection.execute(_PRUNE, (edge if surplus > 0 else min(edge, limit),))
    elif edge_row is None and surplus <= 0:
        connection.execute(_PRUNE, (limit,))
    else:
        connection.execute(_PRUNE_ONE, (str(first[0]),))
    removed = connection.changes()
    connection.execute(_UNCOUNT, (removed,))
    return removed
