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
        self.waiting.append(Queued(unit, is_repeat, octets))
        return octets

    def take(self) -> Queued | None:
        if not self.waiting:
            return None
        queued = self.waiting.popleft()
        self.octets -= queued.octets
        return queued

    def clear(self) -> None:
        self.waiting.clear()
        self.octets = 0
        self.has_more = False
