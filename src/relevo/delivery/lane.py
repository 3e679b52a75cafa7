"""A lane: the units that wait for one agent, or for one next hop of it.

Each kind of route has a lane of its own, so that hung commands keep no mailbox waiting; agents that
set the pace of each next hop themselves (`PacedAgent`) have a lane for each route. A lane is
bounded in units and in octets held in memory: it says how many more it has room for, and what has
none waits in the store.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from relevo.delivery.pace import Pace
from relevo.queue.store import MemoryContent
from relevo.queue.wishes import AHEAD_S

if TYPE_CHECKING:
    from relevo.delivery.attempt import Agent
    from relevo.delivery.pace import PacedAgent
    from relevo.queue.store import Unit

MAX_OCTETS = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Queued:
    """A unit in a lane. `is_repeat`: see `Attempt`."""

    unit: Unit
    is_repeat: bool
    octets: int


@dataclass(slots=True)
class Lane:
    """Units waiting for one agent, first in first out."""

    agent: Agent
    width: int  # attempts at once
    limit: int  # units waiting
    route: str = ""  # that `pacer` knows; "": the lane is for all routes of a kind
    pacer: PacedAgent | None = None  # the agent, if it sets the pace
    active: int = 0
    uncommitted: int = 0  # outcomes on their way to the store, beside what is active
    octets: int = 0
    has_more: bool = False  # the store may have units that found no room here
    waiting: deque[Queued] = field(default_factory=deque)
    _has_order: bool = False  # one of those that wait has a priority
    _own_pace: Pace = field(init=False)

    def __post_init__(self) -> None:
        self._own_pace = Pace(self.width, self.limit + self.width, 0.0)

    @property
    def is_idle(self) -> bool:
        return not (self.waiting or self.active or self.uncommitted or self.has_more)

    def pace(self) -> Pace:
        """How many attempts at once, and how many units held."""
        if self.pacer is not None:
            return self.pacer.pace(self.route)
        return self._own_pace

    def room(self, pace: Pace) -> int:
        """How many more units may be leased for it."""
        if self.octets > MAX_OCTETS:
            return 0
        return max(0, pace.room - len(self.waiting) - self.active)

    def put(self, unit: Unit, *, is_repeat: bool) -> int:
        """Queue a unit; its octets in memory. Who leases asks for room before."""
        octets = unit.content.size if isinstance(unit.content, MemoryContent) else 0
        self.octets += octets
        queued = Queued(unit, is_repeat, octets)
        if self._has_order or unit.envelope.wishes is not None:
            self._has_order = True
            self.waiting.insert(self._place_of(unit), queued)
        else:
            self.waiting.append(queued)
        return octets

    def _place_of(self, unit: Unit) -> int:
        """Behind all that are as urgent, with the time that they wait; see `queue.wishes`."""
        own = _urgency(unit)
        at = len(self.waiting)
        while at and _urgency(self.waiting[at - 1].unit) > own:
            at -= 1
        return at

    def take(self) -> Queued | None:
        if not self.waiting:
            self._has_order = False
            return None
        queued = self.waiting.popleft()
        self.octets -= queued.octets
        return queued

    def clear(self) -> None:
        self.waiting.clear()
        self.octets = 0
        self.has_more = False


def _urgency(unit: Unit) -> float:
    """The lower, the more urgent."""
    wishes = unit.envelope.wishes
    ahead = AHEAD_S * wishes.priority if wishes is not None and wishes.priority else 0.0
    return unit.created - ahead
