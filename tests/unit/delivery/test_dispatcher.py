"""The dispatcher over a store in memory and agents that do as they are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import pytest

from relevo.delivery import bounce, dispatcher, scheduler
from relevo.delivery.attempt import DELIVERED, Attempt, Result, permanent, temporary
from relevo.delivery.discard import DiscardAgent
from relevo.delivery.dispatcher import Dispatcher, Policy
from relevo.delivery.lane import MAX_OCTETS, Lane
from relevo.delivery.lanes import DEFAULT_LIMITS, DispatchLimits
from relevo.directory import ExpansionFailed, Target
from relevo.hooks.contract import Client, PostDataContext
from relevo.journal import Attempted, Done, DsnSent, Event, Outcome, Released, Waiting
from relevo.mail import Address
from relevo.queue.quarantine import ROUTE, Quarantine, due_of
from relevo.queue.store import (
    MemoryContent,
    QueuedRecipient,
    RecipientState,
    StoreFailed,
    Unit,
    UnitResult,
    Wishes,
)
from unit.delivery.fake_store import FakeStore
from unit.delivery.loops import Runner
from unit.delivery.samples import NOW, expand_to_itself, mail, make_unit, pipe, surroundings

REFUSED = permanent("5.1.1", "no such user")
BUSY = temporary("4.2.0", "busy")
GIVE_UP_S = 3600.0
RETRY_S = 90.0


@dataclass
class Script:
    """An agent that answers as told and remembers what it was asked."""

    answer: Callable[[QueuedRecipient], Result] = lambda _: DELIVERED
    raises: list[Exception] = field(default_factory=list)
    hold: asyncio.Event | None = None
    attempts: list[Attempt] = field(default_factory=list)
    began: asyncio.Event = field(default_factory=asyncio.Event)
    at_once: int = 0
    most_at_once: int = 0
    is_closed: bool = False
    name: str = "script"

    async def attempt(self, attempt: Attempt) -> Sequence[Result]:
        self.attempts.append(attempt)
        self.began.set()
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.hold is not None:
                await self.hold.wait()
            if self.raises:
                raise self.raises.pop()
            return [self.answer(recipient) for recipient in attempt.recipients]
        finally:
            self.at_once -= 1

    def close(self) -> None:
        self.is_closed = True


@dataclass
class World:
    """A dispatcher and what stands around it."""

    store: FakeStore
    local: Script
    pipes: Script
    dispatcher: Dispatcher
    journal: list[Event]
    now: list[float]

    def take(self, *units: Unit) -> None:
        for unit in units:
            self.store.put(unit, due=None)
        self.dispatcher.take(units)

    async def results(self, count: int) -> None:
        await self.store.until(lambda: len(self.store.results) >= count)

    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.store.history]


@asynccontextmanager
async def world(
    *,
    local: Script | None = None,
    expand: Callable[[Address], Awaitable[tuple[Target, ...]]] = expand_to_itself,
    limits: DispatchLimits = DEFAULT_LIMITS,
    is_running: bool = True,
    release: Callable[[Unit], Awaitable[UnitResult]] | None = None,
) -> AsyncIterator[World]:
    store, local, pipes = FakeStore(), local or Script(), Script(name="pipe")
    journal: list[Event] = []
    now = [NOW]
    policy = Policy(
        {"local": local, "pipe": pipes},
        surroundings(expand=expand),
        GIVE_UP_S,
        lambda _created, at: at + RETRY_S,
    )
    dispatcher = Dispatcher(
        store, policy, journal=journal.append, clock=lambda: now[0], limits=limits, release=release
    )
    async with asyncio.TaskGroup() as group:
        if is_running:
            group.create_task(dispatcher.run())
        try:
            yield World(store, local, pipes, dispatcher, journal, now)
        finally:
            await dispatcher.drain(0)


def refuse_bob(recipient: QueuedRecipient) -> Result:
    return REFUSED if recipient.target.startswith("bob") else DELIVERED


def test_taken_unit_is_delivered_and_gone(run: Runner) -> None:
    async def scenario() -> None:
        async with world() as w:
            w.take(make_unit())
            await w.results(1)
            assert w.store.rows == {}
            assert w.kinds() == ["Attempted", "Done"]
            await asyncio.sleep(0)
            assert w.journal == w.store.history
            assert not w.local.attempts[0].is_repeat

    run(scenario())


def test_mail_log_follows_the_commit(run: Runner) -> None:
    async def scenario() -> None:
        async with world() as w:
            w.store.gate = asyncio.Event()
            w.take(make_unit())
            await w.local.began.wait()
            await asyncio.sleep(0)
            assert w.journal == []
            w.store.gate.set()
            await w.results(1)

    run(scenario())


def test_waiting_unit_is_leased_and_marked_as_a_repeat(run: Runner) -> None:
    async def scenario() -> None:
        async with world(is_running=False) as w:
            w.store.put(make_unit(), due=NOW - 1)
            async with asyncio.timeout(5), asyncio.TaskGroup() as group:
                group.create_task(w.dispatcher.run())
                await w.results(1)
                await w.dispatcher.drain(1)
            assert w.local.attempts[0].is_repeat

    run(scenario())


@pytest.mark.case("Q13")
def test_deferred_unit_waits_for_its_time(run: Runner) -> None:
    async def scenario() -> None:
        async with world(local=Script(lambda _: BUSY)) as w:
            w.take(make_unit())
            await w.results(1)
            (row,) = w.store.rows.values()
            assert row.due == NOW + RETRY_S
            assert w.kinds() == ["Attempted", "Waiting"]
            assert w.store.history[-1] == Waiting(NOW, "m1", "a@b.test", RETRY_S)
            w.dispatcher.wake()
            await asyncio.sleep(0.05)
            assert len(w.local.attempts) == 1
            w.local.answer = lambda _: DELIVERED
            w.now[0] += RETRY_S
            w.dispatcher.wake()
            await w.results(2)
            assert w.local.attempts[1].is_repeat
            assert w.store.rows == {}

    run(scenario())


def of_message(w: World) -> list[UnitResult]:
    """Outcomes of the message of these tests, without those of DSNs about it."""
    return [result for result in w.store.results if result.unit.message_id == "m1"]


def has_outcomes(w: World, count: int) -> bool:
    return len(of_message(w)) >= count


def test_delay_is_told_with_the_outcome_and_only_once(run: Runner) -> None:
    async def scenario() -> None:
        async with world(local=Script(lambda _: BUSY)) as w:
            policy = replace(w.dispatcher._policy, delay_notice_s=2 * RETRY_S)
            w.dispatcher.replace_policy(policy)
            w.take(make_unit())
            for _ in range(4):
                await w.store.until(partial(has_outcomes, w, len(of_message(w)) + 1))
                w.now[0] += RETRY_S
                w.dispatcher.wake()
            told = [len(result.dsns) for result in of_message(w)[:4]]
            assert told == [0, 0, 1, 0]

    run(scenario())


def test_timer_wakes_the_loop_when_a_unit_is_due(run: Runner) -> None:
    async def scenario() -> None:
        async with world(is_running=False) as w:
            loop = asyncio.get_running_loop()
            start = loop.time()
            dispatcher = Dispatcher(
                w.store, w.dispatcher._policy, journal=w.journal.append, clock=loop.time
            )
            w.store.put(make_unit(created=start), due=start + 0.1)
            async with asyncio.TaskGroup() as group:
                group.create_task(dispatcher.run())
                await w.results(1)
                assert loop.time() - start >= 0.1
                await dispatcher.drain(1)
            assert w.store.leases <= 4, "polled"

    run(scenario())


@pytest.mark.case("Q14")
def test_recipients_already_delivered_are_not_tried_again(run: Runner) -> None:
    async def scenario() -> None:
        local = Script(lambda recipient: BUSY if recipient.target[0] == "b" else DELIVERED)
        async with world(local=local) as w:
            w.take(make_unit(mail("ann@d1.test"), mail("bob@d1.test")))
            await w.results(1)
            local.answer = lambda _: DELIVERED
            w.now[0] += RETRY_S
            w.dispatcher.wake()
            await w.results(2)
            assert [recipient.target for recipient in local.attempts[1].recipients] == [
                "bob@d1.test"
            ]
            assert w.store.rows == {}

    run(scenario())


@pytest.mark.case("Q5", "Q8")
def test_failure_sends_a_dsn_with_the_outcome(run: Runner) -> None:
    async def scenario() -> None:
        async with world(local=Script(refuse_bob)) as w:
            unit = make_unit(mail("ann@d1.test"), mail("bob@d1.test"), reverse_path="carl@d1.test")
            w.take(unit)
            await w.results(1)
            (dsn,) = w.store.results[0].dsns
            assert dsn.units[0].recipients[0].target == "carl@d1.test"
            assert w.kinds()[:5] == ["Attempted", "Attempted", "DsnSent", "Accepted", "Done"]
            # the DSN is due at once, found by the wake-up, and delivered
            await w.results(2)
            assert w.local.attempts[1].unit.envelope.is_dsn
            assert w.store.rows == {}

    run(scenario())


def test_dsn_of_one_failure_does_not_wait_for_the_other_recipients(run: Runner) -> None:
    async def scenario() -> None:
        local = Script(lambda recipient: REFUSED if recipient.target[0] == "b" else BUSY)
        async with world(local=local) as w:
            w.take(make_unit(mail("ann@d1.test"), mail("bob@d1.test")))
            await w.results(1)
            assert len(w.store.results[0].dsns) == 1
            assert w.store.results[0].due == NOW + RETRY_S
            w.now[0] += RETRY_S
            w.dispatcher.wake()
            await w.store.until(lambda: len(local.attempts) >= 2 and len(w.store.results) >= 3)
            again = [r for r in w.store.results if r.unit.message_id == "m1"][1]
            assert again.dsns == (), "told twice"

    run(scenario())


@pytest.mark.case("Q12")
@pytest.mark.parametrize("late", [3 * GIVE_UP_S, 10 * 365 * 86400.0], ids=["down", "clock"])
def test_a_try_that_comes_late_is_not_the_last_one(run: Runner, late: float) -> None:
    """The server was down, or its clock was set forward: its age counts as of when it was due."""

    async def scenario() -> None:
        async with world(local=Script(lambda _: BUSY)) as w:
            unit = replace(make_unit(created=NOW), due=NOW + GIVE_UP_S / 2)
            w.now[0] = NOW + late
            w.take(unit)
            await w.results(1)
            (result,) = w.store.results
            assert result.due is not None
            assert not result.dsns

    run(scenario())


def test_the_first_try_is_never_the_last_one(run: Runner) -> None:
    """It was held for long before, or the clock was set forward while it ran."""

    async def scenario() -> None:
        async with world(local=Script(lambda _: BUSY)) as w:
            w.take(make_unit(created=NOW - 3 * GIVE_UP_S))
            await w.results(1)
            (result,) = w.store.results
            assert result.due is not None
            assert result.recipients[0].state is RecipientState.PENDING

    run(scenario())


def test_too_old_message_is_given_up_with_a_dsn(run: Runner) -> None:
    async def scenario() -> None:
        async with world(local=Script(lambda _: BUSY)) as w:
            w.take(replace(make_unit(created=NOW - GIVE_UP_S), attempts=1))
            await w.results(1)
            result = w.store.results[0]
            assert result.due is None
            assert result.recipients[0].state is RecipientState.FAILED
            content = result.dsns[0].content.first(100_000)
            assert b"Status: 4.0.0" in content

    run(scenario())


def test_dsns_that_fail_end_at_the_postmaster_and_never_loop(run: Runner) -> None:
    async def scenario() -> None:
        async with world(local=Script(lambda _: REFUSED)) as w:
            w.take(make_unit(reverse_path="carl@d1.test"))
            await w.results(3)
            assert w.store.rows == {}
            assert [event.recipient for event in w.store.history if isinstance(event, DsnSent)] == [
                "carl@d1.test",
                "postmaster@d1.test",
            ]

    run(scenario())


def test_failure_waits_while_the_sender_cannot_be_told(run: Runner) -> None:
    async def fail(address: Address) -> tuple[Target, ...]:
        raise ExpansionFailed("hook broken")

    async def scenario() -> None:
        async with world(local=Script(refuse_bob), expand=fail) as w:
            unit = make_unit(mail("ann@d1.test"), mail("bob@d1.test"), reverse_path="carl@d1.test")
            w.take(unit)
            await w.results(1)
            result = w.store.results[0]
            assert [recipient.state for recipient in result.recipients] == [
                RecipientState.DELIVERED,
                RecipientState.PENDING,
            ]
            assert result.due == NOW + RETRY_S
            assert result.dsns == ()
            w.now[0] += GIVE_UP_S
            w.dispatcher.wake()
            await w.results(2)
            assert w.store.results[1].recipients[1].state is RecipientState.FAILED
            assert len(w.store.results[1].dsns) == 1

    run(scenario())


# commits


def test_outcome_is_committed_before_anything_else_however_often_the_store_fails(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "COMMIT_PAUSES_S", (0.0, 0.001))

    async def scenario() -> None:
        async with world() as w:
            w.store.failures = [StoreFailed("full") for _ in range(5)] + [RuntimeError("bug")]
            w.take(make_unit())
            await w.results(1)
            assert len(w.local.attempts) == 1, "tried again before the outcome was committed"
            assert w.store.rows == {}

    run(scenario())


def test_lease_that_fails_is_tried_again(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "STORE_PAUSE_S", 0.001)

    async def scenario() -> None:
        async with world(is_running=False) as w:
            w.store.lease_failures = [StoreFailed("io"), RuntimeError("bug")]
            w.store.put(make_unit(), due=NOW)
            async with asyncio.TaskGroup() as group:
                group.create_task(w.dispatcher.run())
                await w.results(1)
                await w.dispatcher.drain(1)

    run(scenario())


# raises


def test_raising_attempt_is_temporary_and_logged(
    run: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with world(local=Script(raises=[KeyError("bug")])) as w:
            w.take(make_unit())
            await w.results(1)
            result = w.store.results[0]
            assert result.due == NOW + RETRY_S
            assert "KeyError" not in result.recipients[0].detail
            assert result.recipients[0].state is RecipientState.PENDING

    run(scenario())
    assert "KeyError: 'bug'" in caplog.text


def test_unit_that_keeps_raising_is_held_with_its_traceback(run: Runner) -> None:
    async def scenario() -> None:
        local = Script(raises=[KeyError(f"bug {number}") for number in range(9)])
        async with world(local=local) as w:
            w.take(make_unit())
            for tries in range(1, 6):
                await w.results(tries)
                w.now[0] += RETRY_S
                w.dispatcher.wake()
            held = w.store.results[4]
            assert held.due is not None
            assert held.due - w.now[0] > 365 * 86400
            (attempted,) = (event for event in held.events if isinstance(event, Attempted))
            assert "KeyError" in attempted.detail
            assert "Traceback" in attempted.detail
            await asyncio.sleep(0.03)
            assert len(local.attempts) == 5

    run(scenario())


CONTEXT = PostDataContext(
    message_id="id1", client=Client("192.0.2.7", 25, "c"), reverse_path="a@r.test",
    forward_paths=("bob@d1.test",),
)  # fmt: skip


def released_unit() -> Unit:
    unit = make_unit(route=ROUTE)
    why = Quarantine(NOW - 100, "post-data", "spam", "odd", CONTEXT)
    return replace(unit, envelope=replace(unit.envelope, quarantine=why))


def test_what_leaves_the_quarantine_becomes_what_the_release_says(run: Runner) -> None:
    async def release(unit: Unit) -> UnitResult:
        return UnitResult(unit, unit.recipients, None, (Released(NOW, unit.message_id, ()),))

    async def scenario() -> None:
        async with world(release=release) as w:
            w.take(released_unit())
            await w.results(1)
            assert (w.kinds(), w.local.attempts, w.store.rows) == (["Released"], [], {})

    run(scenario())


def test_a_release_that_keeps_raising_goes_back_into_quarantine(run: Runner) -> None:
    async def release(unit: Unit) -> UnitResult:
        raise KeyError(unit.message_id)

    async def scenario() -> None:
        async with world(release=release) as w:
            w.take(released_unit())
            for tries in range(1, 6):
                await w.results(tries)
                w.now[0] += RETRY_S
                w.dispatcher.wake()
            assert w.store.results[4].due == due_of(NOW - 100), "its time there goes on"

    run(scenario())


def test_one_good_attempt_clears_the_count_of_raises(run: Runner) -> None:
    async def scenario() -> None:
        local = Script(lambda _: BUSY, raises=[KeyError("bug")] * 4)
        async with world(local=local) as w:
            w.take(make_unit())
            for tries in range(1, 8):
                await w.results(tries)
                if tries == 5:
                    local.raises = [KeyError("bug")] * 2
                w.now[0] += RETRY_S
                w.dispatcher.wake()
            assert all(
                result.due is not None and result.due < w.now[0] + 1000
                for result in w.store.results
            )

    run(scenario())


def test_wrong_number_of_results_counts_as_raising(run: Runner) -> None:
    class Short(Script):
        async def attempt(self, attempt: Attempt) -> Sequence[Result]:
            return ()

    async def scenario() -> None:
        async with world(local=Short()) as w:
            w.take(make_unit())
            await w.results(1)
            assert w.store.results[0].due == NOW + RETRY_S

    run(scenario())


def test_unknown_route_waits(run: Runner) -> None:
    async def scenario() -> None:
        async with world() as w:
            w.take(make_unit(route="lmtp:x"))
            await w.results(1)
            assert w.store.results[0].due == NOW + RETRY_S
            (attempted, _) = w.store.history
            assert isinstance(attempted, Attempted)
            assert attempted.outcome is Outcome.TEMPORARY

    run(scenario())


# bounds


def test_attempts_at_once_are_bounded_and_order_is_kept(run: Runner) -> None:
    async def scenario() -> None:
        limits = DispatchLimits(local_at_once=4)
        async with world(limits=limits) as w:
            w.take(*(make_unit(message_id=f"m{number}") for number in range(50)))
            await w.results(50)
            assert w.local.most_at_once <= 4
            assert [attempt.unit.message_id for attempt in w.local.attempts] == [
                f"m{number}" for number in range(50)
            ]

    run(scenario())


def test_hung_pipes_do_not_keep_mailboxes_waiting(run: Runner) -> None:
    async def scenario() -> None:
        async with world() as w:
            w.pipes.hold = asyncio.Event()
            units = [
                make_unit(pipe("cmd"), route="pipe", message_id=f"p{number}")
                for number in range(90)
            ]
            w.take(*units)
            w.take(make_unit())
            await w.results(1)
            assert w.store.results[0].unit.message_id == "m1"
            w.pipes.hold.set()

    run(scenario())


def test_what_finds_no_room_waits_in_the_store_until_there_is_some(run: Runner) -> None:
    async def scenario() -> None:
        limits = DispatchLimits(local_at_once=2, local_waiting=10)
        async with world(limits=limits) as w:
            w.local.hold = asyncio.Event()
            assert w.dispatcher.place("local") is None
            w.take(*(make_unit(message_id=f"m{number}") for number in range(12)))
            assert w.dispatcher.place("local") == 0
            for number in range(12, 30):
                w.store.put(make_unit(message_id=f"m{number}"), due=NOW)
            w.dispatcher.take((), ["local"])
            await asyncio.sleep(0.1)
            assert len([row for row in w.store.rows.values() if row.due is None]) == 12
            leases = w.store.leases
            await asyncio.sleep(0.1)
            assert w.store.leases == leases, "nobody looks while there is no room"
            w.local.hold.set()
            await w.store.until(lambda: not w.store.rows)
            assert len(w.local.attempts) == 30
            assert w.dispatcher.place("local") is None

    run(scenario())


def test_memory_held_in_a_lane_is_bounded_by_octets_too() -> None:
    lane = Lane(DiscardAgent(), 1, 1000)
    big = make_unit(content=MemoryContent(b"x" * (MAX_OCTETS // 2)))
    for _ in range(3):
        assert lane.room(lane.pace()) > 0
        lane.put(big, is_repeat=False)
    assert lane.room(lane.pace()) == 0
    lane.take()
    assert lane.room(lane.pace()) > 0


def test_large_backlog_of_due_units_is_worked_off(run: Runner) -> None:
    async def scenario() -> None:
        async with world(is_running=False) as w:
            for number in range(2000):
                w.store.put(make_unit(message_id=f"m{number}"), due=NOW - 2000 + number)
            async with asyncio.TaskGroup() as group:
                group.create_task(w.dispatcher.run())
                await w.store.until(lambda: not w.store.rows)
                await w.dispatcher.drain(1)
            assert len(w.local.attempts) == 2000
            assert w.local.attempts[0].unit.message_id == "m0"

    run(scenario())


def test_unleased_addition_is_found_soon(run: Runner) -> None:
    async def scenario() -> None:
        async with world() as w:
            await asyncio.sleep(0.03)
            w.store.put(make_unit(), due=NOW)
            w.dispatcher.take((), ["local"])
            await w.results(1)

    run(scenario())


# messages of several units


def test_done_is_told_once_for_a_message_of_several_units(run: Runner) -> None:
    async def scenario() -> None:
        async with world() as w:
            w.take(make_unit(), make_unit(pipe("cmd"), route="pipe", number=1))
            await w.results(2)
            assert [type(event) for event in w.store.history].count(Done) == 1
            assert isinstance(w.store.history[-1], Done)

    run(scenario())


# the end


def test_drain_lets_running_attempts_end(run: Runner) -> None:
    async def scenario() -> None:
        async with world() as w:
            w.local.hold = asyncio.Event()
            w.take(make_unit())
            await w.local.began.wait()
            asyncio.get_running_loop().call_soon(w.local.hold.set)
            await w.dispatcher.drain(5)
            assert len(w.store.results) == 1
            assert w.store.released == 0
            assert w.local.is_closed

    run(scenario())


def test_drain_cuts_what_does_not_end_and_releases_it(run: Runner) -> None:
    async def scenario() -> None:
        limits = DispatchLimits(local_at_once=2)
        async with world(limits=limits) as w:
            w.local.hold = asyncio.Event()
            w.take(*(make_unit(message_id=f"m{number}") for number in range(5)))
            await w.local.began.wait()
            await w.dispatcher.drain(0.01)
            assert w.store.results == []
            assert w.store.released == 5

    run(scenario())


def test_units_taken_while_draining_are_released(run: Runner) -> None:
    async def scenario() -> None:
        async with world() as w:
            w.local.hold = asyncio.Event()
            w.take(make_unit())
            await w.local.began.wait()
            drained = asyncio.create_task(w.dispatcher.drain(5))
            await asyncio.sleep(0)
            w.take(make_unit(message_id="late"))
            w.local.hold.set()
            await drained
            assert len(w.local.attempts) == 1
            assert w.store.released == 1

    run(scenario())


def test_new_policy_serves_the_next_attempts_and_closes_the_old_agent(run: Runner) -> None:
    async def scenario() -> None:
        async with world() as w:
            other = Script()
            w.dispatcher.replace_policy(
                Policy({"local": other, "pipe": w.pipes}, surroundings(), GIVE_UP_S)
            )
            w.take(make_unit())
            await w.results(1)
            assert len(other.attempts) == 1
            assert w.local.is_closed
            assert not w.pipes.is_closed

    run(scenario())


def test_units_leased_while_draining_are_released(run: Runner) -> None:
    async def scenario() -> None:
        async with world(is_running=False) as w:
            w.store.lease_gate = asyncio.Event()
            w.store.put(make_unit(), due=NOW)
            async with asyncio.TaskGroup() as group:
                group.create_task(w.dispatcher.run())
                while not w.store.leases:  # noqa: ASYNC110 - the store counts, it has no event
                    await asyncio.sleep(0)
                drained = group.create_task(w.dispatcher.drain(5))
                await asyncio.sleep(0)
                assert not drained.done()
                w.store.lease_gate.set()
            assert w.store.released == 1
            assert w.local.attempts == []

    run(scenario())


def test_mail_log_that_fails_does_not_stop_delivery(run: Runner) -> None:
    async def scenario() -> None:
        async with world(limits=DispatchLimits(local_at_once=1)) as w:

            def fail(event: Event) -> None:
                raise OSError(28, "full")

            w.dispatcher._journal = fail
            w.take(make_unit(), make_unit(message_id="m2"))
            await w.results(2)

    run(scenario())


def test_delivered_is_delivered_when_the_notification_cannot_be_made(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_arguments: object, **_named: object) -> None:
        raise KeyError("bug")

    monkeypatch.setattr(bounce, "notify", fail)

    async def scenario() -> None:
        async with world(local=Script(answer=refuse_bob)) as w:
            w.take(make_unit(mail("bob@d1.test"), mail("eve@d1.test")))
            await w.results(1)
            bob, eve = w.store.results[0].recipients
            assert bob.state is RecipientState.PENDING
            assert eve.state is RecipientState.DELIVERED

    run(scenario())


def test_a_store_that_fails_does_not_keep_agents_open_at_the_end(run: Runner) -> None:
    async def scenario() -> None:
        async with world() as w:
            w.store.release_failure = StoreFailed("suspended")
            await w.dispatcher.drain(1)
            assert w.local.is_closed

    run(scenario())


def test_a_message_whose_time_is_over_comes_back_without_an_attempt(run: Runner) -> None:
    async def check() -> None:
        async with world(local=Script(lambda _: BUSY)) as it:
            unit = make_unit()
            wishes = Wishes(deliver_by=RETRY_S / 2, returns=True)
            it.take(replace(unit, envelope=replace(unit.envelope, wishes=wishes)))
            await it.results(1)
            assert it.store.results[0].due == NOW + RETRY_S / 2
            it.now[0] += RETRY_S / 2
            it.dispatcher.wake()
            await it.results(2)
            assert len(it.local.attempts) == 1
            assert it.store.results[1].due is None
            assert it.kinds()[-3:] == ["DsnSent", "Accepted", "Done"]

    run(check())


def test_a_message_that_is_only_late_is_tried_on_and_its_sender_told_once(run: Runner) -> None:
    async def check() -> None:
        async with world(local=Script(lambda _: BUSY)) as it:
            unit = make_unit()
            wishes = Wishes(deliver_by=RETRY_S / 2)
            it.take(replace(unit, envelope=replace(unit.envelope, wishes=wishes)))
            for count, wait in ((1, RETRY_S / 2), (2, RETRY_S), (3, RETRY_S)):
                await it.results(count)
                assert it.store.results[-1].due == it.now[0] + wait
                it.now[0] += wait
                it.dispatcher.wake()
            assert [len(result.dsns) for result in it.store.results[:3]] == [0, 1, 0]

    run(check())


def test_a_held_message_is_as_old_as_the_time_since_it_was_let_go(run: Runner) -> None:
    async def check() -> None:
        async with world(local=Script(lambda _: BUSY)) as it:
            unit = make_unit(created=NOW - 10 * GIVE_UP_S, attempts=1)
            wishes = Wishes(hold=10 * GIVE_UP_S)
            it.take(replace(unit, envelope=replace(unit.envelope, wishes=wishes)))
            await it.results(1)
            assert it.store.results[0].due == NOW + RETRY_S

    run(check())
