"""All lanes of a worker, by route."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from relevo.delivery.attempt import temporary
from relevo.delivery.lane import Lane
from relevo.delivery.pace import PacedAgent
from relevo.delivery.routing import LOCAL, route_kind
from relevo.queue.store import Room

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from relevo.delivery.attempt import Agent, Attempt, Result

_FRESH = ":"  # the route of a next hop of which nothing is known


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchLimits:
    """How much is done and kept at once, a worker."""

    local_at_once: int = 64
    others_at_once: int = 16
    local_waiting: int = 1000
    others_waiting: int = 100
    paced_at_once: int = 500  # over all next hops
    paced_held: int = 2000  # units, over all next hops
    paced_octets: int = 64 * 1024 * 1024  # of their content in memory


DEFAULT_LIMITS = DispatchLimits()


class NoAgent:
    """Serves routes that this release or configuration does not know."""

    name = "unknown"

    async def attempt(self, attempt: Attempt) -> Sequence[Result]:
        result = temporary("4.3.5", f"nothing serves the route {attempt.unit.route}")
        return (result,) * len(attempt.pending)

    def close(self) -> None:
        pass


class Lanes:
    """One lane for each kind of route; for a `PacedAgent` one for each route, while it is used."""

    def __init__(self, agents: Mapping[str, Agent], limits: DispatchLimits) -> None:
        self.limits = limits
        self._kinds: dict[str, Lane] = {}
        self._pacers: dict[str, PacedAgent] = {}
        self._unknown = self._make("", NoAgent())
        self._paced: dict[str, Lane] = {}
        self.paced_active = 0
        self.paced_waiting = 0
        self.paced_uncommitted = 0
        self.paced_octets = 0  # in memory, of those that wait
        self.use(agents)

    def __iter__(self) -> Iterator[Lane]:
        yield from self._kinds.values()
        yield self._unknown
        yield from self._paced.values()

    def _make(self, kind: str, agent: Agent) -> Lane:
        limits = self.limits
        if kind == LOCAL:
            return Lane(agent, limits.local_at_once, limits.local_waiting)
        return Lane(agent, limits.others_at_once, limits.others_waiting)

    def use(self, agents: Mapping[str, Agent]) -> None:
        """Other agents from the next attempt on."""
        for kind, agent in agents.items():
            if isinstance(agent, PacedAgent):
                self._pacers[kind] = agent
            elif kind in self._kinds:
                self._kinds[kind].agent = agent
            else:
                self._kinds[kind] = self._make(kind, agent)
        for route, lane in self._paced.items():
            lane.agent = lane.pacer = self._pacers[route_kind(route)]

    def of(self, route: str) -> Lane:
        """The lane of a route."""
        lane = self._paced.get(route)
        if lane is not None:
            return lane
        kind = route_kind(route)
        pacer = self._pacers.get(kind)
        if pacer is None:
            return self._kinds.get(kind, self._unknown)
        lane = self._paced[route] = Lane(pacer, 0, 0, route, pacer)
        return lane

    def known(self, route: str) -> Lane | None:
        """The lane of a route, if there is one already."""
        lane = self._paced.get(route)
        if lane is None and (kind := route_kind(route)) not in self._pacers:
            lane = self._kinds.get(kind, self._unknown)
        return lane

    def has_room(self, route: str) -> bool:
        """Would one more unit be taken?"""
        lane = self.known(route)
        if lane is not None and lane.pacer is None:
            return lane.room(lane.pace()) > 0
        if self.is_full:
            return False
        if lane is None:
            return self._pacers[route_kind(route)].pace(route).room > 0
        return lane.room(lane.pace()) > 0

    @property
    def is_full(self) -> bool:
        """All next hops together hold as much as they may."""
        limits = self.limits
        return self.paced_held >= limits.paced_held or self.paced_octets >= limits.paced_octets

    @property
    def paced_held(self) -> int:
        """Units of next hops that wait, are tried, or whose outcome is on its way to the store."""
        return self.paced_active + self.paced_waiting + self.paced_uncommitted

    def room(
        self, most: int, worker_for: Callable[[str], int] | None, late_before: float = inf
    ) -> Room:
        """What a round of leases may bring; see `Room`. Lanes that are not needed any more go."""
        for route in [route for route, lane in self._paced.items() if lane.is_idle]:
            del self._paced[route]
        left = 0 if self.is_full else self.limits.paced_held - self.paced_held
        paces = {route: lane.pace() for route, lane in self._paced.items()}
        by_route = {route: min(left, self._paced[route].room(paces[route])) for route in paces}
        resting = frozenset(route for route, pace in paces.items() if pace.is_resting)
        by_kind = {kind: lane.room(lane.pace()) for kind, lane in self._kinds.items()}
        for kind, pacer in self._pacers.items():
            by_kind[kind] = min(left, pacer.pace(f"{kind}{_FRESH}").room)
        otherwise = self._unknown.room(self._unknown.pace())
        closed = frozenset() if left else frozenset(self._pacers)
        return Room(most, by_route, by_kind, otherwise, closed, worker_for, resting, late_before)
