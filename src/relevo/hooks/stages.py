"""Asking declared hooks at the stages that are asked in one way: context in, verdict out.

All stages but post-data (which has the message on standard input) and the alias ones (whose
answers are cached). The first verdict that is not accept ends the stage; each hook sees the tags
and changes of those before it. Whatever a hook does, `ask` never raises.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from relevo.hooks.caller import NOTHING_MORE, Caller
from relevo.hooks.contract import Accept, Changes, Refuse, Stage, StageContext
from relevo.hooks.contract.contexts import AttemptContext, MailContext
from relevo.hooks.contract.json_form import encode_context
from relevo.hooks.contract.verdicts import NO_CHANGES
from relevo.hooks.judging import joined, joined_tags, judge, on_failure, outcome_of, why_record
from relevo.hooks.steps import Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from relevo.hooks.caller import Called
    from relevo.hooks.contract import Verdict
    from relevo.hooks.programs import Program
    from relevo.journal.events import HookVerdict

SESSION_STAGES = (Stage.CONNECT, Stage.EHLO, Stage.AUTH, Stage.MAIL, Stage.RCPT)
DELIVERY_STAGES = (
    Stage.ROUTE,
    Stage.BEFORE_ATTEMPT,
    Stage.DELIVERED,
    Stage.DEFERRED,
    Stage.FAILED,
    Stage.DSN,
)


@dataclass(frozen=True, slots=True)
class StageOutcome:
    """What the hooks of a stage said. `changes` of those that accepted, `records` of all."""

    refusal: Refuse | None = None
    is_dropped: bool = False
    changes: Changes = NO_CHANGES
    records: tuple[HookVerdict, ...] = ()


class StageHooks:
    """Asks the hooks of a stage for one worker."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    @classmethod
    def for_stages(cls, caller: Caller, stages: Iterable[Stage]) -> StageHooks | None:
        """None: no hook is declared for any of them, and nobody need be asked."""
        return cls(caller) if any(map(caller.programs.declares, stages)) else None

    def has(self, stage: Stage) -> bool:
        """Whether a hook is declared for the stage."""
        return self._caller.programs.declares(stage)

    async def ask(self, context: StageContext) -> StageOutcome:
        """Ask the hooks of the context's stage in turn."""
        trials = self._caller.trials
        if trials is None or not trials.watches(Stage(context.stage)):
            return await self._ask(context, None)
        steps: list[Step] = []
        outcome = await self._ask(context, steps)
        trials.saw_stage(context, steps)
        return outcome

    async def _ask(self, context: StageContext, steps: list[Step] | None) -> StageOutcome:
        """`steps` gets all answers, where somebody wants them."""
        stage, trials = Stage(context.stage), self._caller.trials
        message_id = getattr(context, "message_id", "")
        total = NO_CHANGES
        records: list[HookVerdict] = []
        for place in self._caller.programs.of(stage):
            program = place if trials is None else trials.chosen(place, context)
            verdict, called, reason = await self.ask_one(program, context)
            if steps is not None:
                steps.append(Step.of(place, program, called, verdict, reason))
            records.append(why_record(stage, message_id, program, called, verdict, reason))
            if isinstance(verdict, Refuse):
                return StageOutcome(verdict, changes=total, records=tuple(records))
            if not isinstance(verdict, Accept):
                return StageOutcome(is_dropped=True, changes=total, records=tuple(records))
            total = joined(total, verdict.changes)
            context = changed_context(context, verdict.changes)
        return StageOutcome(changes=total, records=tuple(records))

    async def ask_one(
        self, program: Program, context: StageContext, more: Mapping[str, str] = NOTHING_MORE
    ) -> tuple[Verdict, Called | None, str]:
        """Its verdict, the call, and in words what was wrong with it. `more`: variables."""
        stage, environment = Stage(context.stage), self._caller.environment
        if more:
            environment = {**environment, **more}
        try:
            inputs = [b"", encode_context(context)]
            called = await self._caller.call(program, environment, inputs)
        except OSError as error:  # no memory or descriptor for its input
            return on_failure(program, stage), None, f"no file for its input: {error}"
        verdict, reason = judge(called, stage)
        self._caller.count(called, outcome_of(called, verdict, reason))
        return verdict, called, reason


def changed_context(context: StageContext, changes: Changes) -> StageContext:
    """What the next hook of the stage is told."""
    if changes.is_none:
        return context
    context = replace(context, tags=joined_tags(context.tags, changes.tags))
    if isinstance(context, MailContext) and changes.reverse_path is not None:
        return replace(context, reverse_path=changes.reverse_path or "<>")
    if isinstance(context, AttemptContext) and changes.route:
        return replace(context, route=changes.route)
    return context
