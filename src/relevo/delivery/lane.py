"""A lane: the units of one kind of route that wait for their agent, and the tasks that serve them.

Each kind has a lane of its own, so that hung commands keep no mailbox waiting. A lane is bounded in
units and in octets held in memory.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from relevo.queue.store import MemoryContent

if TYPE_CHECKING:
    from relevo.delivery.attempt import Agent
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
    active: int = 0
    octets: int = 0
    waiting: deque[Queued] = field(default_factory=deque)

    def put(self, unit: Unit, *, is_repeat: bool) -> bool:
        """Queue a unit; False: the lane is full."""
        if len(self.waiting) >= self.limit or self.octets > MAX_OCTETS:
            return False
        octets = unit.content.size if isinstance(unit.content, MemoryContent) else 0
        self.octets += octets
        self.waiting.append(Queued(unit, is_repeat, octets))
        return True

    def take(self) -> Queued | None:
        if not self.waiting:
            return None
        queued = self.waiting.popleft()
        self.octets -= queued.octets
        return queued

    def clear(self) -> None:
        self.waiting.clear()
        self.octets = 0
