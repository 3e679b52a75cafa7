"""What senders wish, as the columns of units: an order, a last moment, a first one.

**Priority** (RFC 6710). A level counts as ten minutes of waiting: in the backlog of a route a
message of priority 9 goes before ordinary ones that came up to an hour and a half earlier, and one
of -9 behind those that come as much later. So the urgent go first, and nothing waits for ever.

**Deliver-by** (RFC 2852) and **hold** (RFC 4865) are kept as seconds after the message came, so
that they move with it when the clock is set; a hold until a date stays where it is.

Ordinary messages have none of this, and no statement is run for them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from relevo.queue.ids import time_prefix
from relevo.queue.records import decode_envelope, encode

if TYPE_CHECKING:
    import apsw

    from relevo.queue.store import Envelope, Wishes

WishRow = tuple[str | None, float | None, int | None, str]  # place, expires, hold, message

AHEAD_S: Final = 600.0  # a level of priority
INTERVAL: Final = 1  # what a unit is held for
DATE: Final = 2
SET_WISHES: Final = "UPDATE unit SET place = ?, expires = ?, hold = ? WHERE message = ?"
_WITH_WISHES = (
    "SELECT id, created, envelope FROM message WHERE instr(CAST(envelope AS TEXT), '\"wishes\":{')"
)
_NOT_BEFORE = "UPDATE unit SET due = max(due, ?) WHERE message = ? AND attempts = 0"
_ENVELOPE = "SELECT created, envelope FROM message WHERE id = ?"
_SET_ENVELOPE = "UPDATE message SET envelope = ? WHERE id = ?"


def wish_row(identity: str, created: float, wishes: Wishes) -> WishRow:
    """The columns of all units of a message."""
    place = None
    if wishes.priority:
        prefix = time_prefix(created - wishes.priority * AHEAD_S)
        place = prefix + identity[len(prefix) :]
    expires = None if wishes.deliver_by is None else created + wishes.deliver_by
    hold = (DATE if wishes.is_date else INTERVAL) if wishes.hold else None
    return place, expires, hold, identity


def put_back(connection: apsw.Connection) -> None:
    """Set the columns of units that were rebuilt, inside the caller's transaction."""
    rows = connection.execute(_WITH_WISHES).fetchall()
    for identity, created, octets in rows:
        assert isinstance(identity, str)
        assert isinstance(created, float)
        assert isinstance(octets, bytes)
        wishes = decode_envelope(octets).wishes
        if wishes is not None:
            connection.execute(SET_WISHES, wish_row(identity, created, wishes))
            connection.execute(_NOT_BEFORE, (created + wishes.hold, identity))


def end_hold(connection: apsw.Connection, identity: str, now: float) -> None:
    """An operator let the message go: its age counts from now on, not from the time chosen."""
    row = connection.execute(_ENVELOPE, (identity,)).fetchone()
    if row is None:
        return
    created, octets = row
    assert isinstance(created, float)
    assert isinstance(octets, bytes)
    ended = _without_hold(decode_envelope(octets), max(0.0, now - created))
    if ended is not None:
        connection.execute(_SET_ENVELOPE, (encode(ended), identity))


def _without_hold(envelope: Envelope, seconds: float) -> Envelope | None:
    wishes = envelope.wishes
    if wishes is None or wishes.hold <= seconds:
        return None
    return replace(envelope, wishes=replace(wishes, hold=seconds))
