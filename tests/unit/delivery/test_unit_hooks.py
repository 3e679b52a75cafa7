"""Hooks of delivery around a dispatcher: what they may change, and what they never do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import cast

from relevo.delivery.attempt import Result
from relevo.delivery.dispatcher import Policy
from relevo.delivery.unit_hooks import UnitHooks
from relevo.hooks.contract import Changes, Refuse, Stage, StageContext
from relevo.hooks.contract.contexts import AttemptContext, DsnContext
from relevo.hooks.stages import StageHooks, StageOutcome
from relevo.journal import Attempted, Event, HookVerdict, Outcome
from relevo.queue.store import QueuedRecipient, RecipientState
from unit.delivery.loops import Runner
from unit.delivery.samples import NOW, expand_to_itself, mail, make_unit, surroundings
from unit.delivery.test_dispatcher import (
    BUSY,
    GIVE_UP_S,
    REFUSED,
    RETRY_S,
    Script,
    World,
    refuse_bob,
    world,
)

Answers = dict[Stage, StageOutcome | Callable[[StageContext], StageOutcome]]
LATER = Refuse(451, "4.7.1", "not now")
NEVER = Refuse(554, "5.7.1", "never")


def row(stage: Stage) -> HookVerdict:
    return HookVerdict(NOW, "id", stage.value, "judge", "v1", "accept")


class FakeHooks:
    """Answers as told at the stages it has, and keeps what it is asked."""

    def __init__(self, said: Answers) -> None:
        self._said = said
        self.asked: list[StageContext] = []
        self.gate: asyncio.Event | None = None

    def has(self, stage: Stage) -> bool:
        return stage in self._said

    async def ask(self, context: StageContext) -> StageOutcome:
        self.asked.append(context)
        if self.gate is not None:
            await self.gate.wait()
        answer = self._said[Stage(context.stage)]
        outcome = answer(context) if callable(answer) else answer
        return replace(outcome, records=(row(Stage(context.stage)),))


class Asked:
    """A world whose dispatcher asks hooks."""

    def __init__(self, w: World, hooks: FakeHooks, remote: Script, recorded: list[Event]) -> None:
        self.w = w
        self.hooks = hooks
        self.remote = remote
        self.recorded = recorded

    def attempted(self) -> list[Attempted]:
        return [event for event in self.w.store.history if isinstance(event, Attempted)]

    def stages(self) -> list[str]:
        rows = [event for event in self.w.store.history if isinstance(event, HookVerdict)]
        return [each.stage for each in rows]


@asynccontextmanager
async def asked(said: Answers, local: Script | None = None) -> AsyncIterator[Asked]:
    hooks, remote = FakeHooks(said), Script(name="remote")
    recorded: list[Event] = []
    async with world(local=local) as w:
        unit_hooks = UnitHooks(
            cast("StageHooks", hooks), record=recorded.append, clock=lambda: w.now[0]
        )
        w.dispatcher.replace_policy(
            Policy(
                {"local": w.local, "pipe": w.pipes, "via": remote},
                surroundings(expand=expand_to_itself),
                GIVE_UP_S,
                lambda _created, at: at + RETRY_S,
                unit_hooks,
            )
        )
        yield Asked(w, hooks, remote, recorded)
        if hooks.gate is not None:
            hooks.gate.set()
        await unit_hooks.drain()


def test_a_hook_of_route_chooses_the_agent_of_this_attempt_only(run: Runner) -> None:
    async def scenario() -> None:
        via = StageOutcome(changes=Changes(route="via:h.test", tags=("big",)))
        async with asked({Stage.ROUTE: via, Stage.BEFORE_ATTEMPT: StageOutcome()}) as a:
            a.w.take(make_unit())
            await a.w.results(1)
            assert a.w.local.attempts == []
            assert [attempt.unit.route for attempt in a.remote.attempts] == ["via:h.test"]
            assert a.w.store.results[0].unit.route == "local"
            assert [event.route for event in a.attempted()] == ["via:h.test"]
            before = a.hooks.asked[1]
            assert isinstance(before, AttemptContext)
            assert (before.route, before.tags) == ("via:h.test", ("big",))
            assert a.stages() == ["route", "before-attempt"]

    run(scenario())


def test_a_refusal_before_an_attempt_is_its_result(run: Runner) -> None:
    async def scenario() -> None:
        async with asked({Stage.BEFORE_ATTEMPT: StageOutcome(LATER)}) as a:
            a.w.take(make_unit())
            await a.w.results(1)
            assert a.w.local.attempts == []
            (event,) = a.attempted()
            assert (event.outcome, event.detail) == (Outcome.TEMPORARY, "not now")
            assert a.w.store.results[0].due == NOW + RETRY_S

    run(scenario())


def test_a_hook_gives_recipients_up_and_the_sender_is_told(run: Runner) -> None:
    async def scenario() -> None:
        async with asked({Stage.ROUTE: StageOutcome(NEVER)}) as a:
            a.w.take(make_unit())
            await a.w.results(1)
            result = a.w.store.results[0]
            assert [each.state for each in result.recipients] == [RecipientState.FAILED]
            assert len(result.dsns) == 1

    run(scenario())


def test_a_pipe_stays_a_pipe(run: Runner) -> None:
    async def scenario() -> None:
        via = StageOutcome(changes=Changes(route="via:h.test"))
        async with asked({Stage.ROUTE: via}) as a:
            a.w.take(make_unit(route="pipe"))
            await a.w.results(1)
            assert len(a.w.pipes.attempts) == 1

    run(scenario())


def test_each_outcome_is_told_with_its_recipients_after_the_commit(run: Runner) -> None:
    def answer(recipient: QueuedRecipient) -> Result:
        return BUSY if recipient.target.startswith("carl") else refuse_bob(recipient)

    async def scenario() -> None:
        stages = (Stage.DELIVERED, Stage.DEFERRED, Stage.FAILED)
        said: Answers = {stage: StageOutcome() for stage in stages}
        async with asked(said, Script(answer=answer)) as a:
            a.w.store.gate = asyncio.Event()
            a.w.take(make_unit(mail("ann@d1.test"), mail("bob@d1.test"), mail("carl@d1.test")))
            await a.w.local.began.wait()
            await asyncio.sleep(0)
            assert a.hooks.asked == []
            a.w.store.gate.set()
            await a.w.results(1)
        told = {
            context.stage: [recipient.target for recipient in context.recipients]
            for context in a.hooks.asked
            if isinstance(context, AttemptContext) and not context.is_dsn
        }
        assert told == {
            "delivered": ["ann@d1.test"], "deferred": ["carl@d1.test"], "failed": ["bob@d1.test"]
        }  # fmt: skip
        failed = a.hooks.asked[2]
        assert isinstance(failed, AttemptContext)
        assert failed.recipients[0].status == "5.1.1"
        assert len(a.recorded) == len(a.hooks.asked)
        assert a.stages() == [], "what is told later is no part of the outcome's commit"

    run(scenario())


def test_a_hook_that_hangs_after_delivery_holds_up_no_mail(run: Runner) -> None:
    async def scenario() -> None:
        async with asked({Stage.DELIVERED: StageOutcome()}) as a:
            a.hooks.gate = asyncio.Event()
            for number in range(5):
                a.w.take(make_unit(message_id=f"m{number}"))
            await a.w.results(5)

    run(scenario())


def test_a_hook_drops_a_notification(run: Runner) -> None:
    async def scenario() -> None:
        drop = StageOutcome(is_dropped=True)
        async with asked({Stage.DSN: drop}, Script(answer=lambda _: REFUSED)) as a:
            a.w.take(make_unit())
            await a.w.results(1)
            assert a.w.store.results[0].dsns == ()
            assert a.stages() == ["dsn"]
            (context,) = a.hooks.asked
            assert isinstance(context, DsnContext)
            assert [each.status for each in context.about] == ["5.1.1"]

    run(scenario())


def test_a_bug_while_asking_about_a_notification_does_not_repeat_the_delivery(run: Runner) -> None:
    def fail(_context: StageContext) -> StageOutcome:
        raise RuntimeError("a bug")

    async def scenario() -> None:
        local = Script(answer=refuse_bob)
        async with asked({Stage.DSN: fail}, local) as a:
            a.w.take(make_unit(mail("ann@d1.test"), mail("bob@d1.test")))
            await a.w.results(1)
            assert len(a.w.store.results[0].dsns) == 1
            assert len([each for each in a.w.local.attempts if each.unit.message_id == "m1"]) == 1

    run(scenario())
