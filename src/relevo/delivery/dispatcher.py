"""The dispatcher: gives each unit to its agent and commits what came of it.

Theory of operation. Units come from two sides: `take` (just accepted, leased in the same commit,
content still in memory) and `run`, which leases what is due, when a timer or `wake` says so; it
never polls except for one look every 30 s. Each unit waits in the lane of its route's kind and is
served by one of the lane's tasks.

Invariants
- A unit is tried by one task at a time, and not again before the outcome is committed: a commit
  that fails is repeated until it succeeds. What is cut (the end of `drain`, a crash) is tried
  again by whoever leases the unit next, marked as a repeat.
- Outcome, history, retry time and DSN of an attempt are one transaction; the mail log follows it.
- Memory is bounded: a lane that is full gives the unit back to the store for a while.
- An attempt that raises is a bug of ours: it counts as temporary, and the fifth time the unit is
  held, with the traceback in its history, until an operator retries it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relevo.delivery import bounce
from relevo.delivery.attempt import (
    Agent,
    Attempt,
    Result,
    pending_indices,
    temporary,
)
from relevo.delivery.lane import Lane, Queued
from relevo.delivery.ledger import UnitLedger
from relevo.delivery.mishap import judge
from relevo.delivery.routing import LOCAL, route_kind
from relevo.delivery.settlement import Fate, Settlement, plain, postpone, settle
from relevo.delivery.unit_hooks import Plan
from relevo.journal import Done, Waiting
from relevo.queue import next_try
from relevo.queue.store import StoreFailed, UnitResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from relevo.config import Config
    from relevo.delivery.unit_hooks import UnitHooks
    from relevo.journal import Event, HookVerdict
    from relevo.queue.store import NewMessage, Store, Unit

_log = logging.getLogger(__name__)

SWEEP_S = 30.0
LEASE_BATCH = 256
MIN_PAUSE_S = 0.01  # between two leases, so that many wake-ups make one
STORE_PAUSE_S = 1.0  # after the store failed
COMMIT_PAUSES_S = (0.1, 0.5, 2.0, 5.0, 15.0, 30.0)
GIVEN_BACK_S = 10.0  # a unit whose lane was full is due again after this
HELD_S = 10 * 365 * 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchLimits:
    """How much is done and kept at once, a worker."""

    local_at_once: int = 64
    others_at_once: int = 16
    local_waiting: int = 1000
    others_waiting: int = 100


DEFAULT_LIMITS = DispatchLimits()
NO_PLAN = Plan()


@dataclass(frozen=True, slots=True)
class Policy:
    """What a reload may change."""

    agents: Mapping[str, Agent]  # by kind of route
    around: bounce.Surroundings
    give_up_after_s: float
    next_try: Callable[[float, float], float] = next_try  # (created, now) → due
    hooks: UnitHooks | None = None  # None: none is declared for a stage of delivery


class _NoAgent:
    """Serves routes that this release or configuration does not know."""

    name = "unknown"

    async def attempt(self, attempt: Attempt) -> Sequence[Result]:
        result = temporary("4.3.5", f"nothing serves the route {attempt.unit.route}")
        return (result,) * len(attempt.pending)

    def close(self) -> None:
        pass


class Dispatcher:
    """Delivers the units of one worker."""

    def __init__(
        self,
        store: Store,
        policy: Policy,
        *,
        journal: Callable[[Event], None],
        remake: Callable[[Config], Policy] | None = None,
        clock: Callable[[], float] = time.time,
        limits: DispatchLimits = DEFAULT_LIMITS,
    ) -> None:
        self._store = store
        self._remake = remake
        self._policy = policy
        self._journal = journal
        self._clock = clock
        self._limits = limits
        self._ledger = UnitLedger()
        self._lanes = {kind: self._make_lane(kind, agent) for kind, agent in policy.agents.items()}
        self._unknown = self._make_lane("", _NoAgent())
        self._least_room = max(1, min(LEASE_BATCH, limits.local_waiting // 4))
        self._surplus: list[Unit] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._wakeup = asyncio.Event()
        self._is_starved = False  # due units may be left because there was no room
        self._is_stopping = False
        self._has_ended = asyncio.Event()  # `run` is over, or has not begun
        self._has_ended.set()

    def _make_lane(self, kind: str, agent: Agent) -> Lane:
        limits = self._limits
        if kind == LOCAL:
            return Lane(agent, limits.local_at_once, limits.local_waiting)
        return Lane(agent, limits.others_at_once, limits.others_waiting)

    def reconfigure(self, config: Config) -> None:
        """Use another configuration from the next attempt on. Raises InvalidPattern."""
        if self._remake is not None:
            self.replace_policy(self._remake(config))

    def replace_policy(self, policy: Policy) -> None:
        """Use other agents and rules from the next attempt on."""
        kept = set(map(id, policy.agents.values()))
        for agent in self._policy.agents.values():
            if id(agent) not in kept:
                agent.close()
        self._policy = policy
        for kind, agent in policy.agents.items():
            if kind in self._lanes:
                self._lanes[kind].agent = agent
            else:
                self._lanes[kind] = self._make_lane(kind, agent)

    # in

    @property
    def has_room(self) -> bool:
        """Should a message be leased with its acceptance? If not, it is leased when its turn comes.

        False while much is waiting: then `Store.add(…, lease=False)` and `take(())` are cheaper
        than giving back what does not fit.
        """
        return self._room() > 0

    def take(self, units: Sequence[Unit]) -> None:
        """Deliver units just accepted and leased. None: something was added without a lease."""
        if not units:
            self.wake()
        if len(units) > 1:
            self._ledger.expect(units[0].message_id, len(units))
        for unit in units:
            self._admit(unit, is_repeat=False)

    def wake(self) -> None:
        """Look for due units now."""
        self._wakeup.set()

    def _room(self) -> int:
        return self._limits.local_waiting - sum(len(lane.waiting) for lane in self._all_lanes())

    def _all_lanes(self) -> tuple[Lane, ...]:
        return (*self._lanes.values(), self._unknown)

    def _admit(self, unit: Unit, *, is_repeat: bool) -> None:
        if self._is_stopping:
            return  # still leased: `drain` releases it
        lane = self._lanes.get(route_kind(unit.route), self._unknown)
        if not lane.put(unit, is_repeat=is_repeat or unit.attempts > 0):
            self._surplus.append(unit)
            self.wake()
        elif lane.active < lane.width:
            lane.active += 1
            task = asyncio.get_running_loop().create_task(self._serve(lane))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    # due units

    async def run(self) -> None:
        """Lease what is due until `drain` is called."""
        self._has_ended.clear()
        try:
            await self._lease_until_drained()
        finally:
            self._has_ended.set()

    async def _lease_until_drained(self) -> None:
        while not self._is_stopping:
            self._wakeup.clear()
            try:
                await self._give_back_surplus()
                pause = await self._lease_due()
            except StoreFailed as error:
                _log.error("cannot look for due mail: %s", error)
                pause = STORE_PAUSE_S
            except Exception:  # noqa: BLE001 - task border: the loop must go on
                _log.exception("looking for due mail failed")
                pause = STORE_PAUSE_S
            await asyncio.sleep(MIN_PAUSE_S)
            try:
                async with asyncio.timeout(pause):
                    await self._wakeup.wait()
            except TimeoutError:
                pass

    async def _lease_due(self) -> float:
        """Lease what fits; seconds until the next look."""
        room = min(self._room(), LEASE_BATCH)
        self._is_starved = room < self._least_room
        if self._is_starved:
            return SWEEP_S
        units = await self._store.lease(now=self._clock(), limit=room)
        for unit in units:
            self._admit(unit, is_repeat=True)
        if len(units) == room:
            return 0.0
        due = await self._store.next_due()
        return SWEEP_S if due is None else min(SWEEP_S, max(0.0, due - self._clock()))

    async def _give_back_surplus(self) -> None:
        while self._surplus:
            batch, self._surplus = self._surplus[:LEASE_BATCH], self._surplus[LEASE_BATCH:]
            due = self._clock() + GIVEN_BACK_S
            await asyncio.gather(
                *(self._commit(UnitResult(unit, unit.recipients, due)) for unit in batch)
            )

    # attempts

    async def _serve(self, lane: Lane) -> None:
        """A lane's task: serve units until none waits."""
        try:
            while not self._is_stopping and (queued := lane.take()) is not None:
                if self._is_starved and self._room() >= self._least_room:
                    self._is_starved = False
                    self.wake()
                await self._serve_unit(lane.agent, queued)
        finally:
            lane.active -= 1

    async def _serve_unit(self, agent: Agent, queued: Queued) -> None:
        """The border: whatever an attempt raises ends here."""
        unit = queued.unit
        try:
            result = await self._attempt(agent, queued)
            self._ledger.forget_raises(unit)
        except Exception as error:  # noqa: BLE001 - task border of a unit
            result = self._after_raise(unit, error)
        await self._commit(result)
        self._tell(result.events)
        if self._policy.hooks is not None:
            await self._policy.hooks.after(result)
        if result.dsns:
            self.wake()

    def _tell(self, events: Sequence[Event]) -> None:
        try:
            for event in events:
                self._journal(event)
        except Exception:  # noqa: BLE001 - task border: delivery goes on without its log lines
            _log.exception("the mail log could not be written")

    async def _attempt(self, agent: Agent, queued: Queued) -> UnitResult:
        unit, policy = queued.unit, self._policy
        attempt = Attempt(unit, pending_indices(unit), queued.is_repeat)
        plan = NO_PLAN
        if policy.hooks is not None:
            plan = await policy.hooks.before(attempt)
            if plan.route:
                agent = policy.agents.get(route_kind(plan.route), self._unknown.agent)
                attempt = plan.applied(attempt)
        began = self._clock()
        if plan.result is None:
            results = await agent.attempt(attempt)
        else:
            results = (plan.result,) * len(attempt.pending)
        now = self._clock()
        # Its age when the try was due: what made the try late, a server that was down or a clock
        # that was set forward, is to cost nobody the last one.
        is_too_old = min(now, unit.due) - unit.created >= policy.give_up_after_s
        settlement = self._settled(agent, attempt, results, (began, now), is_too_old=is_too_old)
        notification = None
        if any(map(bounce.is_of_interest, settlement.tried)):
            try:
                notification = await bounce.notify(
                    unit, settlement.tried, policy.around, now=now, may_postpone=not is_too_old
                )
            except bounce.NotificationPostponed as error:
                _log.warning("%s: the sender cannot be told now: %s", unit.message_id, error)
                later = postpone(attempt, results, "the sender cannot be told now")
                settlement = self._settled(agent, attempt, later, (began, now), is_too_old=False)
                notification = await bounce.notify(
                    unit, settlement.tried, policy.around, now=now, may_postpone=False
                )
            except Exception:
                if not any(settled.fate is Fate.DELIVERED for settled in settlement.tried):
                    raise
                # What was delivered must not be delivered again.
                _log.exception("%s: the sender cannot be told", unit.message_id)
                later = postpone(attempt, results, "the sender cannot be told now")
                settlement = self._settled(agent, attempt, later, (began, now), is_too_old=False)
        rows = plan.rows
        if notification is not None and policy.hooks is not None:
            notification, more = await policy.hooks.about_dsn(unit, settlement.tried, notification)
            rows += more
        return self._result(unit, settlement, notification, now, rows)

    def _settled(
        self,
        agent: Agent,
        attempt: Attempt,
        results: Sequence[Result],
        span: tuple[float, float],
        *,
        is_too_old: bool,
    ) -> Settlement:
        route = attempt.unit.route
        began, now = span
        return settle(
            attempt,
            results,
            label=route if ":" in route else agent.name,
            now=now,
            seconds=max(0.0, now - began),
            is_too_old=is_too_old,
        )

    def _result(
        self,
        unit: Unit,
        settlement: Settlement,
        notification: bounce.Notification | None,
        now: float,
        rows: tuple[HookVerdict, ...],
    ) -> UnitResult:
        events: list[Event] = [*rows, *settlement.events]
        dsns: tuple[NewMessage, ...] = ()
        if notification is not None:
            events.append(notification.event)
            events += notification.dsn.events
            dsns = (notification.dsn,)
        reverse_path = plain(unit.envelope.reverse_path)
        due: float | None = None
        if not settlement.is_finished:
            due = self._policy.next_try(unit.created, now)
            events.append(Waiting(now, unit.message_id, reverse_path, due - now))
        elif self._ledger.is_last(unit.message_id):
            events.append(Done(now, unit.message_id, reverse_path))
        return UnitResult(unit, settlement.recipients, due, tuple(events), dsns)

    def _after_raise(self, unit: Unit, error: Exception) -> UnitResult:
        """Try again later, or hold the unit."""
        now = self._clock()
        mishap = judge(unit, error, self._ledger.raised(unit))
        due = now + HELD_S if mishap.is_held else self._policy.next_try(unit.created, now)
        attempt = Attempt(unit, pending_indices(unit), is_repeat=True)
        results = (temporary("4.3.0", mishap.detail),) * len(attempt.pending)
        settlement = settle(
            attempt, results, label=unit.route, now=now, seconds=0.0, is_too_old=False
        )
        waiting = Waiting(now, unit.message_id, plain(unit.envelope.reverse_path), due - now)
        return UnitResult(unit, settlement.recipients, due, (*settlement.events, waiting))

    async def _commit(self, result: UnitResult) -> None:
        """Make an outcome durable, however long that takes."""
        tries = 0
        while True:
            try:
                await self._store.finish(result)
            except StoreFailed as error:
                _log.error("%s: outcome not stored yet: %s", result.unit.message_id, error)
            except Exception:  # noqa: BLE001 - task border: the outcome must not be lost
                _log.exception("%s: outcome not stored yet", result.unit.message_id)
            else:
                return
            await asyncio.sleep(COMMIT_PAUSES_S[min(tries, len(COMMIT_PAUSES_S) - 1)])
            tries += 1

    # out

    async def drain(self, timeout_s: float) -> None:
        """Take nothing more, let running attempts end, cut those that do not; release all units."""
        self._is_stopping = True
        self.wake()
        for lane in self._all_lanes():
            lane.clear()
        self._surplus.clear()
        tasks = set(self._tasks)
        try:
            async with asyncio.timeout(timeout_s):
                # a lease under way would come after the release
                await self._has_ended.wait()
                if tasks:
                    await asyncio.wait(tasks)
                if self._policy.hooks is not None:
                    await self._policy.hooks.drain()
        except TimeoutError:
            late = [task for task in tasks if not task.done()]
            _log.warning("%d attempts did not end in time and are cut", len(late))
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        try:
            await self._store.release_all()
        except StoreFailed as error:
            _log.error("cannot give units back, the supervisor or the next start does: %s", error)
        for agent in self._policy.agents.values():
            agent.close()
