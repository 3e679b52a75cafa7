"""How fast an agent takes the units of a route."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from relevo.delivery.attempt import Agent
from relevo.value import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """`width`: attempts at once. `room`: units that may wait for them or run, 0 for none now;
    `opens_at`: when there may be room again, in the loop's time. `is_resting`: nothing is tried
    now, so that only units which are late need to be taken.
    """

    width: int
    room: int
    opens_at: float
    is_resting: bool = False


@runtime_checkable
class PacedAgent(Agent, Protocol):
    """An agent whose routes lead to different next hops: each route has a lane of its own."""

    def pace(self, route: str) -> Pace:
        """What the next hop of a route takes now. Cheap."""
