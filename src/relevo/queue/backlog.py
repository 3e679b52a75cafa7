"""What is due and has no room yet: the backlog of a worker, and how units leave it.

A unit that is due is leased where its route has room, else it moves into the backlog of the worker
that serves its route; so whatever waits behind one next hop is passed by once and never looked at
again until there is room. A backlog is taken from route by route, in turn, the oldest message of a
route first (by `relevo.queue.wishes` an urgent one counts as older), by index: a next hop with a
hundred thousand units costs the others one seek. Whatever its sender wanted delivered by now is
taken though there is no room, so that the sender hears of it.

In the table a unit of a backlog has a negative owner. Backlogs outlive their workers: whoever gets
the number next goes on with it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import chain

import apsw

from relevo.queue.clock import LEAST_STEP
from relevo.queue.ids import time_prefix
from relevo.queue.leases import TO_REPAIR, LeasedRow
from relevo.queue.store import Room
from relevo.value import dataclass

_log = logging.getLogger(__name__)

Key = tuple[str, int]  # message, number

MOST_MOVED = 200  # due units of one round: others wait for its commit
MOST_EXPIRED = 50  # units of one round that no room is asked for
MOST_STEPS = 500  # seeks in the backlog of one round
_AT_ONCE = 32  # rows read between two decisions, and keys of a statement

_DUE = (
    "SELECT message, number, route FROM unit WHERE owner IS NULL AND due <= ? ORDER BY due LIMIT ?"
)
_ANY = (
    "SELECT EXISTS (SELECT 1 FROM unit WHERE owner IS NULL AND due <= ?)"
    " OR EXISTS (SELECT 1 FROM unit WHERE owner = ? AND owner < 0)"
)
_WAITING = (
    "SELECT route, sequence, number, message FROM unit WHERE owner = ? AND owner < 0"
    " AND (route, sequence, number) > (?, ?, ?) ORDER BY route, sequence, number LIMIT ?"
)
# `+`: by the index on `expires`, which is nearly empty, and not through the whole backlog.
_EXPIRED = "SELECT message, number, route FROM unit WHERE expires <= ? AND +owner = ? LIMIT ?"
_HAS_EXPIRED = "UPDATE unit SET expires = NULL WHERE message = ? AND number = ?"
_OWN = "UPDATE unit SET owner = ? WHERE (message, number) IN (VALUES {keys})"
_ROWS = (
    "SELECT message, number, route, due, attempts, recipients, created, size, envelope, content,"
    " file, start FROM unit JOIN message ON id = message"
    " WHERE (message, number) IN (VALUES {keys})"
)


@dataclass(frozen=True, slots=True)
class Circle:
    """A way around the backlog, which may take several rounds: where it is, and where it ends.

    Were its end not remembered, a backlog of more routes than a round has steps, none of which has
    room, would be gone around without end.
    """

    at: tuple[str, str, int] = ("", "", 0)
    began: str = ""  # behind this route
    has_wrapped: bool = False


@dataclass(frozen=True, slots=True)
class Round:
    """What a round gave. `circle`: where the next one goes on in the backlog.

    `is_more`: it ended at one of its bounds, look again. `full`: routes that have more units than
    room. `others`: workers whose backlogs grew.
    """

    rows: Sequence[LeasedRow]
    circle: Circle
    is_more: bool
    full: frozenset[str]
    others: frozenset[int]


def backlog_of(worker: int) -> int:
    """The owner that stands for a worker's backlog."""
    return -1 - worker


def may_take(connection: apsw.Connection, worker: int, now: float) -> bool:
    """Is anything due, or in the worker's backlog? A look, which needs no turn."""
    row = connection.execute(_ANY, (now, backlog_of(worker))).fetchone()
    return row is not None and bool(row[0])


class _Taking:
    """The room that is left in a round."""

    def __init__(self, room: Room, now: float) -> None:
        self._room = room
        self._left: dict[str, int] = {}
        # What seems to come from the future, after a clock was set right, may be of any age.
        self._early = (time_prefix(room.late_before), time_prefix(now + LEAST_STEP))
        self.most = room.most
        self.closed = room.closed
        self.keys: list[Key] = []
        self.full: set[str] = set()

    def take_anyway(self, route: str, key: Key) -> None:
        """Lease it, and as one unit less of what there is room for."""
        self._left[route] = self._left.get(route, self._room.of(route)) - 1
        self.most -= 1
        self.keys.append(key)

    def take(self, route: str, key: Key) -> bool:
        """Lease it, if there is room."""
        left = self._left.get(route)
        if left is None:
            left = self._room.of(route)
        if self.most <= 0:
            return False
        if left <= 0 or (route in self._room.resting and self._early[0] <= key[0] < self._early[1]):
            self.full.add(route)
            return False
        self._left[route] = left - 1
        self.most -= 1
        self.keys.append(key)
        return True


def take_round(
    connection: apsw.Connection, worker: int, now: float, room: Room, circle: Circle
) -> Round:
    """Own what there is room for; inside the caller's transaction."""
    taking = _Taking(room, now)
    _take_expired(connection, worker, now, taking)
    is_more, others = _take_due(connection, worker, now, room, taking)
    circle, is_cut = _take_waiting(connection, worker, taking, circle)
    _set_owner(connection, worker, taking.keys)
    rows = sorted(_rows(connection, taking.keys), key=lambda row: row.due)
    return Round(rows, circle, is_more or is_cut, frozenset(taking.full), others)


def _take_expired(connection: apsw.Connection, worker: int, now: float, taking: _Taking) -> None:
    """What waits in the backlog for longer than its sender wants; each unit once."""
    found = list(connection.execute(_EXPIRED, (now, backlog_of(worker), MOST_EXPIRED)))
    for message, number, route in found:
        taking.take_anyway(route, (message, number))
        connection.execute(_HAS_EXPIRED, (message, number))
    _set_owner(connection, worker, taking.keys)


def _take_due(
    connection: apsw.Connection, worker: int, now: float, room: Room, taking: _Taking
) -> tuple[bool, frozenset[int]]:
    """Units that are due leave the index of due ones: leased, or into a backlog."""
    due = list(connection.execute(_DUE, (now, MOST_MOVED)))
    moved: dict[int, list[Key]] = {}
    for message, number, route in due:
        serves = worker if room.worker_for is None else room.worker_for(route)
        if serves != worker or not taking.take(route, (message, number)):
            moved.setdefault(serves, []).append((message, number))
    for serves, keys in moved.items():
        _set_owner(connection, backlog_of(serves), keys)
    return len(due) == MOST_MOVED, frozenset(moved.keys() - {worker})


def _take_waiting(
    connection: apsw.Connection, worker: int, taking: _Taking, circle: Circle
) -> tuple[Circle, bool]:
    """From the backlog, route by route, on the way around; where it ended, and if too early."""
    backlog = backlog_of(worker)
    at, began, has_wrapped = circle.at, circle.began, circle.has_wrapped
    for _ in range(MOST_STEPS):
        if taking.most <= 0:
            return _from(at[0]), True
        found = list(connection.execute(_WAITING, (backlog, *at, _AT_ONCE)))
        for route, sequence, number, message in found:
            if has_wrapped and route > began:
                return _from(began), False
            at = (route, sequence, number)
            if not taking.take(route, (message, number)):
                kind = route.partition(":")[0]
                at = (f"{kind};" if kind in taking.closed else route, _LAST, 0)
                break
        else:
            if len(found) == _AT_ONCE:
                continue
            if has_wrapped or not began:
                return Circle(), False
            has_wrapped, at = True, ("", "", 0)
    return Circle(at, began, has_wrapped), True


def _from(route: str) -> Circle:
    """A new way around, behind a route."""
    return Circle((route, _LAST, 0), route)


_LAST = "\x7f"  # behind every message id, as `;` is behind the colon of every route of a kind


def _set_owner(connection: apsw.Connection, owner: int, keys: Sequence[Key]) -> None:
    for group in _groups(keys):
        sql = _OWN.format(keys=_values(len(group)))
        connection.execute(sql, (owner, *chain.from_iterable(group)))


def _rows(connection: apsw.Connection, keys: Sequence[Key]) -> Iterator[LeasedRow]:
    """The rows of leased units. One that cannot be read is logged and left out: it stays leased,
    so that it neither keeps the others waiting nor is leased again and again.
    """
    for group in _groups(keys):
        try:
            found = _read(connection, group)
        except apsw.CorruptError:
            for key in group:
                yield from _read_alone(connection, key)
            continue
        yield from found
        for key in set(group) - {(row.message, row.number) for row in found}:
            _log.error("%s: unit %d is held: it has no message; %s", *key, TO_REPAIR)


def _read(connection: apsw.Connection, keys: Sequence[Key]) -> list[LeasedRow]:
    sql = _ROWS.format(keys=_values(len(keys)))
    return [LeasedRow(*row) for row in connection.execute(sql, tuple(chain.from_iterable(keys)))]


def _read_alone(connection: apsw.Connection, key: Key) -> list[LeasedRow]:
    try:
        return _read(connection, [key])
    except apsw.CorruptError as error:
        _log.error("%s: unit %d is held: %s; %s", *key, error, TO_REPAIR)
        return []


def _groups(keys: Sequence[Key]) -> Iterator[Sequence[Key]]:
    return (keys[first : first + _AT_ONCE] for first in range(0, len(keys), _AT_ONCE))


def _values(count: int) -> str:
    return ",".join(["(?,?)"] * count)
