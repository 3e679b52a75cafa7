"""The dispatcher: gives each unit to its agent and commits what came of it.

When which unit is tried is the scheduler's; here is what an attempt means: who tries, the outcome
made durable, the DSN that it calls for, the lines of the mail log.

Invariants
- A unit is tried by one task at a time, and not again before the outcome is committed: a commit
  that fails is repeated until it succeeds. What is cut (the end of `drain`, a crash) is tried
  again by whoever leases the unit next, marked as a repeat.
- Outcome, history, retry time and DSN of an attempt are one transaction; the mail log follows it.
- An attempt that raises is a bug of ours: it counts as temporary, and the fifth time the unit is
  held, with the traceback in its history, until an operator retries it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from relevo.delivery import bounce
from relevo.delivery.attempt import (
    Agent,
    Attempt,
    Result,
    pending_indices,
    temporary,
)
from relevo.delivery.lanes import DEFAULT_LIMITS, DispatchLimits, NoAgent
from relevo.delivery.ledger import UnitLedger
from relevo.delivery.mishap import judge
from relevo.delivery.routing import route_kind
from relevo.delivery.scheduler import ALONE, SWEEP_S, Scheduler, Sharing
from relevo.delivery.settlement import Fate, Settlement, plain, postpone, settle
from relevo.delivery.unit_hooks import Plan
from relevo.delivery.wishes import expired, next_due
from relevo.journal import Done, Waiting
from relevo.queue import next_try
from relevo.queue.quarantine import ROUTE as QUARANTINE
from relevo.queue.quarantine import due_of
from relevo.queue.schedule import HELD_UNTIL
from relevo.queue.store import StoreFailed, UnitResult

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from relevo.config import Config
    from relevo.delivery.lane import Queued
    from relevo.delivery.unit_hooks import UnitHooks
    from relevo.journal import Event, HookVerdict
    from relevo.queue.store import NewMessage, Store, Unit

    Release = Callable[[Unit], Awaitable[UnitResult]]

_log = logging.getLogger(__name__)

COMMIT_PAUSES_S = (0.1, 0.5, 2.0, 5.0, 15.0, 30.0)
NO_PLAN = Plan()


@dataclass(frozen=True, slots=True)
class Policy:
    """What a reload may change."""

    agents: Mapping[str, Agent]  # by kind of route
    around: bounce.Surroundings
    give_up_after_s: float
    next_try: Callable[[float, float], float] = next_try  # (created, now) → due
    hooks: UnitHooks | None = None  # None: none is declared for a stage of delivery
    delay_notice_s: float = inf  # age at which senders are told of what waits

    @property
    def late_after_s(self) -> float:
        """The age from which an attempt tells the sender, even if nothing can be reached."""
        return min(self.give_up_after_s, self.delay_notice_s)


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
        sharing: Sharing = ALONE,
        release: Release | None = None,
    ) -> None:
        """`release` says what becomes of a message that leaves the quarantine."""
        self._store = store
        self._release = release
        self._remake = remake
        self._policy = policy
        self._journal = journal
        self._clock = clock
        self._ledger = UnitLedger()
        self._failing = 0  # outcomes that the store refused and has not taken since
        self._scheduler = Scheduler(
            store, policy.agents, self, clock=clock, limits=limits, sharing=sharing,
            late_after=lambda: self._policy.late_after_s,
        )  # fmt: skip

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
        self._scheduler.lanes.use(policy.agents)

    # units, to and from the scheduler

    def place(self, route: str) -> int | None:
        """Where a unit that is being added goes (see `Store.add`)."""
        return self._scheduler.place(route)

    def wake(self) -> None:
        """Look for due units now."""
        self._scheduler.wake()

    async def run(self) -> None:
        """Lease what is due until `drain` is called."""
        await self._scheduler.run()

    def take(self, units: Sequence[Unit], waiting: Sequence[str] = ()) -> None:
        """Deliver units just accepted and leased; `waiting`: routes of those that were not."""
        if len(units) > 1:
            self._ledger.expect(units[0].message_id, len(units))
        self._scheduler.take(units, waiting)

    # attempts

    async def attempt(self, agent: Agent, queued: Queued) -> UnitResult:
        """Try a unit. The border: whatever an attempt raises ends here."""
        unit = queued.unit
        try:
            if unit.route == QUARANTINE and self._release is not None:
                result = await self._release(unit)
            else:
                result = await self._attempt(agent, queued)
            self._ledger.forget_raises(unit)
        except Exception as error:  # noqa: BLE001 - task border of a unit
            result = self._after_raise(unit, error)
        return result

    @property
    def is_failing(self) -> bool:
        """Whether the store does not take outcomes now."""
        return self._failing > 0

    async def conclude(self, result: UnitResult) -> None:
        """Make an outcome durable, and tell of it."""
        await self._commit(result)
        self._tell(result.events)
        if self._policy.hooks is not None and result.unit.route != QUARANTINE:
            await self._policy.hooks.after(result)
        is_soon = result.due is not None and result.due - self._clock() < SWEEP_S
        if result.dsns or is_soon:
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
                agent = policy.agents.get(route_kind(plan.route), NoAgent())
                attempt = plan.applied(attempt)
        began = self._clock()
        for_all = plan.result or expired(unit, began)
        if for_all is None:
            results = await agent.attempt(attempt)
        else:
            results = (for_all,) * len(attempt.pending)
        now = self._clock()
        # Its age when the try was due: what made the try late, a server that was down or a clock
        # that was set forward, is to cost nobody the last one. Nor is the first try the last one,
        # which comes late when mail was held, and may see such a clock while it runs.
        age = min(now, unit.due) - unit.since
        is_too_old = unit.attempts > 0 and age >= policy.give_up_after_s
        is_late = age >= policy.delay_notice_s or now >= unit.deadline
        settlement = self._settled(
            agent, attempt, results, (began, now), is_too_old=is_too_old, is_late=is_late
        )
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
        is_late: bool = False,
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
            is_late=is_late,
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
            due = next_due(unit, now, self._policy.next_try(unit.since, now))
            events.append(Waiting(now, unit.message_id, reverse_path, due - now))
        elif self._ledger.is_last(unit.message_id):
            events.append(Done(now, unit.message_id, reverse_path))
        return UnitResult(unit, settlement.recipients, due, tuple(events), dsns)

    def _after_raise(self, unit: Unit, error: Exception) -> UnitResult:
        """Try again later, or hold the unit."""
        now = self._clock()
        mishap = judge(unit, error, self._ledger.raised(unit))
        aside = unit.envelope.quarantine
        held_until = HELD_UNTIL if aside is None else due_of(aside.since)
        due = held_until if mishap.is_held else self._policy.next_try(unit.created, now)
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
        try:
            while not await self._is_committed(result):
                tries += 1
                if tries == 1:
                    self._failing += 1
                await asyncio.sleep(COMMIT_PAUSES_S[min(tries, len(COMMIT_PAUSES_S)) - 1])
        finally:
            if tries:
                self._failing -= 1

    async def _is_committed(self, result: UnitResult) -> bool:
        """Whether the store took it this time."""
        try:
            await self._store.finish(result)
        except StoreFailed as error:
            _log.error("%s: outcome not stored yet: %s", result.unit.message_id, error)
        except Exception:  # noqa: BLE001 - task border: the outcome must not be lost
            _log.exception("%s: outcome not stored yet", result.unit.message_id)
        else:
            return True
        return False

    # out

    async def drain(self, timeout_s: float) -> None:
        """Take nothing more, let running attempts end, cut those that do not; release all units."""
        tasks = self._scheduler.stop()
        try:
            async with asyncio.timeout(timeout_s):
                # a lease under way would come after the release
                await self._scheduler.has_ended.wait()
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
