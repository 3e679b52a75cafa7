"""The quarantine: messages that were accepted and wait for somebody's decision.

A message in quarantine is an ordinary message of the queue with one unit: its route is `ROUTE`, its
recipients are those that were accepted, before any alias. It is held (its next try lies behind
`HELD_UNTIL`, by the time at which it came there), so that nothing tries it and nothing expires it
but the quarantine's own bounds. Why it waits, and what is needed to go on, stands in its envelope:
it survives whatever the message survives (backup, repair, export).

Released means: due now. Whoever leases the unit then runs what stands behind the point at which
the message was set aside, and puts the units that come of it into its place in one transaction.
"""

from __future__ import annotations

import time
from dataclasses import dataclass as plain_dataclass

import apsw

from relevo.hooks.contract.contexts import PostDataContext
from relevo.queue.schedule import HELD_UNTIL
from relevo.value import dataclass

ROUTE = "quarantine"

RELEASED = "release from quarantine"
DROPPED = "drop from quarantine"
EXPIRED = "expire from quarantine"
"""Actions in the history. The last two end a message."""

_TOTALS = (
    "SELECT count(*), total(message.size), min(unit.due) FROM unit"
    " JOIN message ON message.id = unit.message"
    " WHERE unit.owner IS NULL AND unit.route = :quarantine AND unit.due >= :held"
)
_OLDER = (
    "SELECT message FROM unit"
    " WHERE owner IS NULL AND route = :quarantine AND due > :held AND due < :before"
    " ORDER BY due LIMIT :limit"
)

VALUES = {"quarantine": ROUTE, "held": HELD_UNTIL}
"""For statements: a unit is in quarantine with this route and a next try that is not before."""


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Why a message is in quarantine, and where it goes on when it is released.

    `passed` are the hooks of post-data that it has behind it; the others are asked at its release,
    with `context`. What those behind it wanted of the recipients is done after the aliases were
    expanded, at the release too.
    """

    since: float  # seconds since the epoch
    stage: str  # what put it there: "post-data", "rcpt", "dmarc" …
    by: str  # the hook, or another name for who decided
    reason: str
    context: PostDataContext
    passed: tuple[str, ...] = ()
    add_recipients: tuple[str, ...] = ()
    remove_recipients: tuple[str, ...] = ()
    redirect: tuple[str, ...] = ()


@plain_dataclass(frozen=True, slots=True)
class Totals:
    """How full the quarantine is."""

    messages: int = 0
    octets: int = 0
    oldest: float | None = None  # since when the oldest is there; None: there is none


@plain_dataclass(frozen=True, slots=True)
class TimedTotals:
    """`seconds` of a processor were used for counting."""

    totals: Totals
    seconds: float


def due_of(since: float) -> float:
    """The "next try" of what came into quarantine then: never, and in the order of coming."""
    return HELD_UNTIL + since


def totals(connection: apsw.Connection) -> Totals:
    """By an index, and a look at each message for its size."""
    row = connection.execute(_TOTALS, VALUES).fetchone()
    assert row is not None
    messages, octets, due = row
    return Totals(messages, int(octets), None if due is None else due - HELD_UNTIL)


def timed_totals(connection: apsw.Connection) -> TimedTotals:
    """And what it cost to count them."""
    began = time.thread_time()
    found = totals(connection)
    return TimedTotals(found, time.thread_time() - began)


def older_than(connection: apsw.Connection, since: float, limit: int) -> list[str]:
    """Ids of messages that came there before, the oldest first."""
    values = {**VALUES, "before": due_of(since), "limit": limit}
    return [row[0] for row in connection.execute(_OLDER, values)]
