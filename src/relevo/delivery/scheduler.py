"""When which unit is tried: lanes filled from the store and emptied by tasks.

Units come from two sides: `take` (just accepted, leased in the same commit, content still in
memory) and `run`, which leases what is due and what waits in the backlog, as far as the lanes have
room, when a timer or `wake` says so; it never polls except for one look every 30 s. What has no
room stays in the store, where it is not looked at again before its lane has some
(`relevo.queue.backlog`).

Next hops share the attempts at once of a worker: a lane that gets none waits for its turn, and
lanes with more give it one as soon as an attempt ends. The next attempt at a next hop does not
wait until the store has the outcome of the last, or a slow disk would idle its connections; how
many outcomes may be under way is bounded, and none is while the store fails: each is a message that
a crash would send once more.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from relevo.delivery.lanes import DEFAULT_LIMITS, DispatchLimits, Lanes
from relevo.queue.store import StoreFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from relevo.delivery.attempt import Agent
    from relevo.delivery.lane import Lane, Queued
    from relevo.delivery.pace import Pace
    from relevo.queue.store import Store, Unit, UnitResult

_log = logging.getLogger(__name__)

SWEEP_S = 30.0
LEASE_BATCH = 256
MIN_PAUSE_S = 0.01  # between two leases, so that many wake-ups make one
BUSY_PAUSE_S = 0.05  # until a look for what was added while nothing had room
ROUND_PAUSE_S = 0.2  # for each further round of a look, so that openings do not make it a loop
LONGEST_ROUND_PAUSE_S = 2.0
STORE_PAUSE_S = 1.0  # after the store failed
UNCOMMITTED = 3  # outcomes under way to the store, for each delivery at once of a next hop


@dataclass(frozen=True, slots=True)
class Sharing:
    """How workers share the routes.

    `worker` is this one's number; `worker_for` says which one serves a route, None: each serves
    what it has; `wake` tells another one that there is more for it.
    """

    worker: int = 0
    worker_for: Callable[[str], int] | None = None
    wake: Callable[[int], None] = lambda _worker: None

    def serves(self, route: str) -> int:
        """The number of the worker that serves a route."""
        return self.worker if self.worker_for is None else self.worker_for(route)


ALONE = Sharing()


class Server(Protocol):
    """Tries units, and makes what came of them durable. Neither call raises."""

    async def attempt(self, agent: Agent, queued: Queued) -> UnitResult:
        """Try a unit."""

    async def conclude(self, result: UnitResult) -> None:
        """Make it durable, and tell."""

    @property
    def is_failing(self) -> bool:
        """Whether the store does not take outcomes now."""


class Scheduler:
    """Decides what is tried when, by a `Server`."""

    def __init__(
        self,
        store: Store,
        agents: Mapping[str, Agent],
        server: Server,
        *,
        clock: Callable[[], float] = time.time,
        limits: DispatchLimits = DEFAULT_LIMITS,
        sharing: Sharing = ALONE,
        late_after: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`late_after`: the age from which senders hear of what waits, in seconds."""
        self._store = store
        self._late_after = late_after
        self._server = server
        self._clock = clock
        self._sharing = sharing
        self.lanes = Lanes(agents, limits)
        self._starved: OrderedDict[str, Lane] = OrderedDict()  # next hops that wait for a turn
        self._tasks: set[asyncio.Task[None]] = set()
        self._wakeup = asyncio.Event()
        self._is_full = False  # units of next hops without a lane wait for room
        self._goes_on = False  # the next round continues the last one
        self._rounds = 0  # of this look
        self._later: asyncio.TimerHandle | None = None
        self.is_stopping = False
        self.has_ended = asyncio.Event()  # `run` is over, or has not begun
        self.has_ended.set()

    # in

    def place(self, route: str) -> int | None:
        """Where a unit that is being added goes (see `Store.add`)."""
        serves = self._sharing.serves(route)
        if serves != self._sharing.worker:
            return serves
        if not self.is_stopping and self.lanes.has_room(route):
            return None
        self._wants_room(route)
        return serves

    def _wants_room(self, route: str) -> None:
        """A unit of the route waits in the store until there is room for it."""
        lane = self.lanes.known(route)
        if lane is not None:
            lane.has_more = True
        elif self.lanes.is_full:
            self._is_full = True
        else:
            self.lanes.of(route).has_more = True

    def take(self, units: Iterable[Unit], waiting: Sequence[str] = ()) -> None:
        """Deliver units just accepted and leased; `waiting`: routes of those that were not."""
        for unit in units:
            self._admit(unit, is_repeat=False)
        for route in waiting:
            serves = self._sharing.serves(route)
            if serves != self._sharing.worker:
                self._sharing.wake(serves)
            elif self._later is None:
                loop = asyncio.get_running_loop()
                self._later = loop.call_later(BUSY_PAUSE_S, self._look_later)

    def _look_later(self) -> None:
        self._later = None
        self.wake()

    def wake(self) -> None:
        """Look for due units now."""
        self._wakeup.set()

    def _admit(self, unit: Unit, *, is_repeat: bool) -> None:
        if self.is_stopping:
            return  # still leased: `drain` releases it
        lane = self.lanes.of(unit.route)
        octets = lane.put(unit, is_repeat=is_repeat or unit.attempts > 0)
        if lane.route:
            self.lanes.paced_waiting += 1
            self.lanes.paced_octets += octets
        self._start(lane)

    # tasks

    def _start(self, lane: Lane) -> None:
        """Another task for the lane, if it may have one more."""
        if not lane.waiting or lane.active >= lane.pace().width:
            return
        if lane.route:
            if self.lanes.paced_active >= self.lanes.limits.paced_at_once:
                self._starved[lane.route] = lane
                return
            self.lanes.paced_active += 1
        lane.active += 1
        task = asyncio.get_running_loop().create_task(self._serve(lane))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, lane: Lane) -> None:
        """A lane's task: serve units until none waits, or others should."""
        try:
            while not self.is_stopping and (queued := lane.take()) is not None:
                if lane.route:
                    self.lanes.paced_waiting -= 1
                    self.lanes.paced_octets -= queued.octets
                result = await self._server.attempt(lane.agent, queued)
                pace = lane.pace()
                if lane.route and self._may_go_ahead(lane, pace):
                    self._conclude_beside(lane, result)
                else:
                    await self._server.conclude(result)
                    pace = lane.pace()
                self._look_if_there_is_room(lane, pace)
                if lane.active > pace.width or (lane.route and self._starved):
                    break
                if lane.active < pace.width:
                    self._start(lane)
        finally:
            lane.active -= 1
            if lane.route:
                self.lanes.paced_active -= 1
                self._give_turns(lane)

    def _may_go_ahead(self, lane: Lane, pace: Pace) -> bool:
        """May the next hop's next attempt begin before the store has this one's outcome?"""
        return (
            bool(lane.waiting)
            and lane.uncommitted < UNCOMMITTED * pace.width
            and self.lanes.paced_uncommitted < self.lanes.limits.paced_at_once
            and not self._server.is_failing
        )

    def _conclude_beside(self, lane: Lane, result: UnitResult) -> None:
        lane.uncommitted += 1
        self.lanes.paced_uncommitted += 1
        task = asyncio.get_running_loop().create_task(self._server.conclude(result))
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            lane.uncommitted -= 1
            self.lanes.paced_uncommitted -= 1

        task.add_done_callback(ended)

    def _look_if_there_is_room(self, lane: Lane, pace: Pace) -> None:
        """Many units at once are cheaper to lease than each alone."""
        lanes = self.lanes
        wants = lane.has_more and (room := lane.room(pace)) > 0 and 2 * room >= pace.room
        if wants or (
            self._is_full
            and 4 * lanes.paced_held < 3 * lanes.limits.paced_held
            and not lanes.is_full
        ):
            self.wake()

    def _give_turns(self, lane: Lane) -> None:
        """A next hop ended an attempt: those that wait for a turn come before it."""
        if self.is_stopping:
            return
        if self._starved:
            if lane.waiting:
                self._starved[lane.route] = lane
            _, first = self._starved.popitem(last=False)
            self._start(first)
            if first.waiting and first.active < first.pace().width:
                self._starved.setdefault(first.route, first)
        else:
            self._start(lane)

    # due units

    async def run(self) -> None:
        """Lease what is due until stopped."""
        self.has_ended.clear()
        try:
            while not self.is_stopping:
                if not self._goes_on:  # else who woke us may be behind us: look once more then
                    self._wakeup.clear()
                pause = await self._look()
                await asyncio.sleep(MIN_PAUSE_S)
                try:
                    async with asyncio.timeout(pause):
                        await self._wakeup.wait()
                except TimeoutError:
                    pass
        finally:
            self.has_ended.set()

    async def _look(self) -> float:
        try:
            return await self._lease_due()
        except StoreFailed as error:
            _log.error("cannot look for due mail: %s", error)
        except Exception:  # noqa: BLE001 - task border: the loop must go on
            _log.exception("looking for due mail failed")
        return STORE_PAUSE_S

    async def _lease_due(self) -> float:
        """Lease what fits; seconds until the next look."""
        late_before = self._clock() - self._late_after()
        room = self.lanes.room(LEASE_BATCH, self._sharing.worker_for, late_before)
        if not self._goes_on:
            for lane in self.lanes:
                lane.has_more = False  # or it is found again, or added meanwhile
            self._rounds = 0
        self._rounds += 1
        self._goes_on = False
        self._is_full = bool(room.closed)
        leased = await self._store.lease_in(room, now=self._clock())
        for unit in leased.units:
            self._admit(unit, is_repeat=True)
        for worker in leased.others:
            self._sharing.wake(worker)
        for route in leased.full:
            self._wants_room(route)
        self._goes_on = leased.is_more
        if leased.is_more:
            return 0.0
        due = await self._store.next_due()
        pause = SWEEP_S if due is None else min(SWEEP_S, max(0.0, due - self._clock()))
        rest = min(LONGEST_ROUND_PAUSE_S, (self._rounds - 1) * ROUND_PAUSE_S)
        return min(pause, max(self._until_opening(), rest))

    def _until_opening(self) -> float:
        """Seconds until a lane that waits for more may have room; at most until the sweep."""
        now = asyncio.get_running_loop().time()
        opening = SWEEP_S
        for lane in self.lanes:
            if lane.route and lane.has_more:
                pace = lane.pace()
                if pace.opens_at > now:
                    opening = min(opening, pace.opens_at - now)
        return opening

    # out

    def stop(self) -> set[asyncio.Task[None]]:
        """Take nothing more; the tasks that still run."""
        self.is_stopping = True
        self.wake()
        if self._later is not None:
            self._later.cancel()
        for lane in self.lanes:
            lane.clear()
        self._starved.clear()
        return set(self._tasks)
