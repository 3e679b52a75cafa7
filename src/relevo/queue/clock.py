"""Steps of the wall clock: how they are noticed, and what they do to mail that waits.

Times in the queue are the wall clock's, since they outlive the machine's uptime. Were that clock
set forward by years, every waiting message would be too old at once; were it set back, no retry
would come for as long. So a step of more than five minutes, noticed while the server runs by
comparison with a clock that nobody sets, moves the times of what waits with it: a message keeps its
age, and its next try comes when it would have come. Kinds of time that stay as they are: history,
which tells what was shown; a date for which a sender has a message held; tries more than six hours
ahead, if no sender asked for that interval; and whatever was written after the step.

What no process saw, a step between two runs, cannot be told from time that passed. For that the
age of a message is taken at the time its try was due (`relevo.delivery.dispatcher`), and one that
seems to come from the future is counted from the start of the server.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import apsw

from relevo.queue.ids import time_prefix
from relevo.queue.schedule import HELD_UNTIL

LEAST_STEP = 300.0  # seconds; less is what a time service corrects, and harms nobody
_LONGEST_RETRY = 6 * 3600.0  # seconds; what is tried later waits for a date, or is held

Clock = Callable[[], float]

_MOVE_MESSAGES = """
UPDATE message SET created = created + :size
WHERE created <= :before AND created NOT BETWEEN :low AND :now
"""
# What its sender holds for an interval moves however long that is, what waits for a date never.
_MOVE_UNITS = (
    "UPDATE unit SET due = due + :size WHERE due <= :latest AND (hold IS NULL OR attempts > 0)"
    " OR hold = 1 AND attempts = 0 AND due < :held"
)
_MOVE_EXPIRIES = "UPDATE unit SET expires = expires + :size WHERE expires IS NOT NULL"
_FURTHEST_DATE = 60 * 86400.0  # seconds ahead; a later try that is not held is a clock's mistake
_TRY_FROM_THE_FUTURE = """
UPDATE unit SET due = min(due, :now) WHERE due < :held AND (hold IS NULL OR attempts > 0) AND (
    due > :now + :furthest
    OR EXISTS (SELECT 1 FROM message WHERE id = unit.message AND created > :now + :least)
)
"""
_HELD_FROM_THE_FUTURE = """
UPDATE unit SET due = :now + due - message.created FROM message
WHERE hold = 1 AND attempts = 0 AND due < :held
    AND message.id = unit.message AND message.created > :now + :least
"""
_LATEST_TRY = (  # by index
    "SELECT due FROM unit WHERE owner IS NULL AND due < ? AND (hold IS NULL OR attempts > 0)"
    " ORDER BY due DESC LIMIT 1"
)
_NOT_FROM_THE_FUTURE = "UPDATE message SET created = :now WHERE created > :now + :least"


def steady() -> float:
    """Seconds since the machine started, its sleep included; nobody sets this clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Step:
    """The wall clock was set."""

    size: float  # seconds, below 0: back
    now: float  # what it shows since
    slack: float  # seconds within which it happened

    @property
    def before(self) -> float:
        """What it would show now without the step."""
        return self.now - self.size


class StepWatch:
    """Compares two clocks each time that it looks."""

    def __init__(self, wall: Clock = time.time, steady: Clock = steady) -> None:
        self._wall = wall
        self._steady = steady
        self._last = (wall(), steady())

    def look(self) -> Step | None:
        """The step since the last look, if there was one."""
        wall, steady = self._last
        self._last = self._wall(), self._steady()
        passed = self._last[1] - steady
        size = self._last[0] - wall - passed
        return None if abs(size) <= LEAST_STEP else Step(size, self._last[0], passed)


def move_waiting(connection: apsw.Connection, step: Step) -> int:
    """Move the times of what waits, inside the caller's transaction; how many units waited."""
    low = step.now - step.slack  # what came since the step was created between these
    values = {"size": step.size, "before": step.before, "low": low, "now": step.now}
    connection.execute(_MOVE_MESSAGES, values)
    connection.execute(_MOVE_EXPIRIES, {"size": step.size})
    latest = step.before + _LONGEST_RETRY
    units = {"size": step.size, "latest": latest, "held": HELD_UNTIL}
    connection.execute(_MOVE_UNITS, units)
    return connection.changes()


def is_from_the_future(connection: apsw.Connection, now: float) -> bool:
    """Whether anything may have been written by a later clock than `now`: two looks into indexes.

    Who looks for all of it reads all that waits. A date that a sender chose counts too.
    """
    (newest,) = connection.execute("SELECT max(id) FROM message").fetchone() or (None,)
    (told,) = connection.execute("SELECT max(message) FROM event").fetchone() or (None,)
    (latest,) = connection.execute(_LATEST_TRY, (HELD_UNTIL,)).fetchone() or (now,)
    later = time_prefix(now + LEAST_STEP)
    names = (name for name in (newest, told) if isinstance(name, str))
    return any(name > later for name in names) or latest > now + _LONGEST_RETRY


def count_from_now(connection: apsw.Connection, now: float) -> None:
    """At start, after the clock was set back: a message that seems to come from the future is as
    old as if it had just come, and is tried now; so is what waits for a time that no schedule gave.
    """
    bounds = {"now": now, "least": LEAST_STEP}
    tries = {**bounds, "furthest": _FURTHEST_DATE, "held": HELD_UNTIL}
    connection.execute(_TRY_FROM_THE_FUTURE, tries)
    connection.execute(_HELD_FROM_THE_FUTURE, {**bounds, "held": HELD_UNTIL})
    connection.execute(_NOT_FROM_THE_FUTURE, bounds)
