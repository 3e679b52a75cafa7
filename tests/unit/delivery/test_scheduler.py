"""Lanes of next hops: who waits for whom, and who does not."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from relevo.delivery.attempt import DELIVERED, Agent, Attempt, Result
from relevo.delivery.lane import Queued
from relevo.delivery.lanes import DispatchLimits
from relevo.delivery.pace import Pace
from relevo.delivery.scheduler import ROUND_PAUSE_S, UNCOMMITTED, Scheduler, Sharing
from relevo.queue.store import Leased, MemoryContent, Room, Unit, UnitResult
from unit.delivery.fake_store import FakeStore
from unit.delivery.loops import Runner
from unit.delivery.samples import NOW, make_unit

SLOW, FAST = "mx:slow.test", "mx:fast.test"


@dataclass
class Hops:
    """A paced agent; routes in `hung` never end."""

    width: int = 2
    room: int = 4
    hung: set[str] = field(default_factory=set)
    closed_until: dict[str, float] = field(default_factory=dict)
    served: list[str] = field(default_factory=list)
    at_once: Counter[str] = field(default_factory=Counter)
    most_at_once: Counter[str] = field(default_factory=Counter)
    name: str = "hops"

    def pace(self, route: str) -> Pace:
        now = asyncio.get_running_loop().time()
        until = self.closed_until.get(route, 0.0)
        return Pace(self.width, self.room if now >= until else 0, max(now, until))

    async def attempt(self, attempt: Attempt) -> Sequence[Result]:
        route = attempt.unit.route
        for key in (route, "all"):
            self.at_once[key] += 1
            self.most_at_once[key] = max(self.most_at_once[key], self.at_once[key])
        try:
            if route in self.hung:
                await asyncio.Event().wait()
            await asyncio.sleep(0)
        finally:
            self.at_once[route] -= 1
            self.at_once["all"] -= 1
        self.served.append(route)
        return (DELIVERED,)

    def close(self) -> None:
        pass


@dataclass
class Serving:
    """Attempts, whose outcomes reach the store only while the gate is open."""

    store: FakeStore
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    is_failing: bool = False

    async def attempt(self, agent: Agent, queued: Queued) -> UnitResult:
        await agent.attempt(Attempt(queued.unit, (0,), queued.is_repeat))
        return UnitResult(queued.unit, (), None)

    async def conclude(self, result: UnitResult) -> None:
        await self.gate.wait()
        await self.store.finish(result)


@dataclass
class World:
    """A scheduler over a store in memory."""

    store: FakeStore
    hops: Hops
    scheduler: Scheduler
    woken: list[int]

    def put(self, route: str, count: int) -> None:
        for number in range(count):
            self.store.put(unit(route, number), due=NOW)

    async def served(self, route: str, count: int) -> None:
        await self.store.until(lambda: self.hops.served.count(route) >= count)


def unit(route: str, number: int = 0) -> Unit:
    return make_unit(route=route, message_id=f"{route} {number}")


@asynccontextmanager
async def world(
    hops: Hops,
    *,
    limits: DispatchLimits | None = None,
    serves: dict[str, int] | None = None,
    serving: Serving | None = None,
) -> AsyncIterator[World]:
    store, woken = FakeStore(), list[int]()
    if serving is None:
        serving = Serving(store)
        serving.gate.set()
    serving.store = store

    sharing = Sharing(0, None if serves is None else serves.__getitem__, woken.append)
    scheduler = Scheduler(
        store,
        {"mx": hops},
        serving,
        clock=lambda: NOW,
        limits=limits or DispatchLimits(),
        sharing=sharing,
    )
    task = asyncio.create_task(scheduler.run())
    try:
        yield World(store, hops, scheduler, woken)
    finally:
        tasks = scheduler.stop()
        for each in tasks:
            each.cancel()
        await asyncio.gather(task, *tasks, return_exceptions=True)


def test_a_next_hop_that_hangs_delays_no_other(run: Runner) -> None:
    async def scenario() -> None:
        async with world(Hops(hung={SLOW})) as w:
            w.put(SLOW, 500)
            w.put(FAST, 50)
            w.scheduler.wake()
            await w.served(FAST, 50)
            assert w.hops.at_once[SLOW] == w.hops.width
            held = [row for row in w.store.rows.values() if row.due is None]
            assert len(held) == w.hops.room

    run(scenario())


def test_the_width_of_each_next_hop_holds(run: Runner) -> None:
    async def scenario() -> None:
        async with world(Hops(width=3, room=30)) as w:
            w.put(FAST, 100)
            w.scheduler.wake()
            await w.served(FAST, 100)
            assert w.hops.most_at_once[FAST] == 3

    run(scenario())


def test_next_hops_take_turns_when_the_worker_does_all_it_may(run: Runner) -> None:
    async def scenario() -> None:
        limits = DispatchLimits(paced_at_once=2)
        async with world(Hops(width=2, room=100), limits=limits) as w:
            w.put(SLOW, 90)
            w.put(FAST, 5)
            w.scheduler.wake()
            await w.served(FAST, 5)
            assert w.hops.served.count(SLOW) < 60
            await w.served(SLOW, 90)
            assert w.hops.most_at_once["all"] == 2

    run(scenario())


def test_what_is_held_for_all_next_hops_is_bounded(run: Runner) -> None:
    async def scenario() -> None:
        routes = [f"mx:d{number}.test" for number in range(50)]
        hops = Hops(width=1, room=2, hung=set(routes[:9]))
        async with world(hops, limits=DispatchLimits(paced_held=20, paced_at_once=20)) as w:
            for route in routes:
                w.put(route, 2)
            w.scheduler.wake()
            await w.store.until(lambda: len(w.store.rows) == 2 * 9)
            held = [row for row in w.store.rows.values() if row.due is None]
            assert len(held) <= 20

    run(scenario())


def test_what_is_held_is_bounded_in_octets_too(run: Runner) -> None:
    async def scenario() -> None:
        hops = Hops(width=1, room=100, hung={SLOW})
        async with world(hops, limits=DispatchLimits(paced_octets=5000)) as w:
            big = make_unit(route=SLOW, content=MemoryContent(b"x" * 3000))
            for number in range(10):
                if w.scheduler.place(SLOW) is None:
                    w.scheduler.take((replace(big, number=number),))
                await asyncio.sleep(0)
            assert w.scheduler.lanes.paced_octets == 6000
            assert w.scheduler.place(FAST) == 0

    run(scenario())


def test_a_lane_that_is_closed_is_looked_at_when_it_opens(run: Runner) -> None:
    async def scenario() -> None:
        hops = Hops()
        async with world(hops) as w:
            hops.closed_until[SLOW] = asyncio.get_running_loop().time() + 0.2
            assert w.scheduler.place(SLOW) == 0
            w.put(SLOW, 1)
            w.scheduler.take((), [SLOW])
            await asyncio.sleep(0.1)
            assert w.hops.served == []
            leases = w.store.leases
            await w.served(SLOW, 1)
            assert w.store.leases <= leases + 2, "nobody polls"

    run(scenario())


def test_units_of_others_are_left_to_them_and_they_are_woken(run: Runner) -> None:
    async def scenario() -> None:
        async with world(Hops(), serves={SLOW: 1, FAST: 0}) as w:
            assert w.scheduler.place(SLOW) == 1
            assert w.scheduler.place(FAST) is None
            w.scheduler.take((), [SLOW])
            assert w.woken == [1]

    run(scenario())


def test_lanes_of_next_hops_go_when_they_are_idle(run: Runner) -> None:
    async def scenario() -> None:
        async with world(Hops()) as w:
            for number in range(30):
                w.put(f"mx:d{number}.test", 1)
            w.scheduler.wake()
            await w.store.until(lambda: not w.store.rows)
            await asyncio.sleep(0.05)
            w.scheduler.wake()
            await asyncio.sleep(0.05)
            assert len(list(w.scheduler.lanes)) == 1

    run(scenario())


async def attempted(w: World, count: int) -> None:
    """So many attempts, and whatever more follows from them without an outcome in the store."""
    for _ in range(1000):
        await asyncio.sleep(0)
    assert len(w.hops.served) >= count


def test_the_next_attempt_does_not_wait_for_the_store_but_outcomes_under_way_are_bounded(
    run: Runner,
) -> None:
    async def scenario() -> None:
        serving = Serving(FakeStore())
        async with world(Hops(width=2, room=100), serving=serving) as w:
            w.put(FAST, 50)
            w.scheduler.wake()
            ahead = 2 * UNCOMMITTED
            await attempted(w, ahead + 2)
            assert len(w.hops.served) == ahead + 2  # the last of each task is waited for
            assert w.hops.most_at_once[FAST] == 2
            serving.gate.set()
            await w.served(FAST, 50)
            await w.store.until(lambda: not w.store.rows)

    run(scenario())


def test_while_the_store_fails_no_attempt_goes_ahead_of_it(run: Runner) -> None:
    async def scenario() -> None:
        serving = Serving(FakeStore(), is_failing=True)
        async with world(Hops(width=2, room=100), serving=serving) as w:
            w.put(FAST, 50)
            w.scheduler.wake()
            await attempted(w, 2)
            assert len(w.hops.served) == 2  # each waits for its outcome

    run(scenario())


class LongWay(FakeStore):
    """A store whose looks take three rounds each; `on_round` is called in each."""

    def __init__(self) -> None:
        super().__init__()
        self.on_round: dict[int, Callable[[], None]] = {}
        self.has_looked_again = asyncio.Event()

    async def lease_in(self, room: Room, *, now: float) -> Leased:
        self.leases += 1
        self.on_round.get(self.leases, lambda: None)()
        if self.leases > 3:
            self.has_looked_again.set()
        full = frozenset({SLOW}) if self.leases % 3 == 1 else frozenset[str]()
        return Leased((), self.leases % 3 != 0, full)


def test_what_comes_while_a_look_takes_several_rounds_is_looked_for_again(run: Runner) -> None:
    async def scenario() -> None:
        store = LongWay()
        serving = Serving(store)
        scheduler = Scheduler(store, {"mx": Hops()}, serving, clock=lambda: NOW)
        store.on_round[2] = scheduler.wake  # its route may have been passed in the first
        has_more: list[bool] = []
        store.on_round[3] = lambda: has_more.append(scheduler.lanes.of(SLOW).has_more)
        task = asyncio.create_task(scheduler.run())
        try:
            async with asyncio.timeout(5):
                await store.has_looked_again.wait()
        finally:
            scheduler.stop()
            await task
        assert has_more == [True], "found in the first round, forgotten in the second"

    run(scenario())


def test_a_long_look_is_not_repeated_at_once_because_next_hops_open(run: Runner) -> None:
    async def scenario() -> None:
        store = LongWay()
        loop = asyncio.get_running_loop()
        hops = Hops(closed_until={SLOW: loop.time() + 0.05})
        scheduler = Scheduler(store, {"mx": hops}, Serving(store), clock=lambda: NOW)
        ended: list[float] = []
        store.on_round[3] = lambda: ended.append(loop.time())
        task = asyncio.create_task(scheduler.run())
        try:
            async with asyncio.timeout(5):
                await store.has_looked_again.wait()
        finally:
            scheduler.stop()
            await task
        assert loop.time() - ended[0] >= 2 * ROUND_PAUSE_S

    run(scenario())
