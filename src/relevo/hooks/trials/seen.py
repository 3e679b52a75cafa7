"""What hooks of a stage were asked about, and what they answered, so that others can be asked too.

The question of any hook of a chain is found from what the first one was told and from the answers
of those before it, by the same functions that the stage uses.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from relevo.hooks.contract import Accept, PostDataContext, Stage
from relevo.hooks.contract.verdicts import NO_CHANGES
from relevo.hooks.judging import joined
from relevo.hooks.post_data import HookMessage, changed_message, changed_post_data_context
from relevo.hooks.stages import changed_context
from relevo.hooks.trials.effects import effect_of
from relevo.mail.header_block import head_length
from relevo.value import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relevo.hooks.contract import StageContext
    from relevo.hooks.steps import Step
    from relevo.hooks.trials.effects import Effect


@dataclass(frozen=True, slots=True)
class Question:
    """What a hook is asked. `message` is there at post-data only."""

    stage: Stage
    context: StageContext | PostDataContext
    message: HookMessage | None = None
    raw_hello: str = ""

    @property
    def start(self) -> bytes:
        """What of the message is in memory; b"" where there is none."""
        return b"" if self.message is None else self.message.start

    @property
    def message_id(self) -> str:
        """Empty before there is one."""
        return str(getattr(self.context, "message_id", ""))

    def about(self) -> str:
        """What it is about, on one line for people."""
        context = self.context
        client = getattr(context, "client", None)
        words = [f"{client.ip}:{client.port}" if client is not None else ""]
        for name in ("user", "reverse_path", "forward_path", "route", "recipient"):
            value = getattr(context, name, "")
            words.append(f"{name.replace('_', '-')} {value}" if value else "")
        return ", ".join(filter(None, words))

    def after(self, step: Step) -> Question | None:
        """What the next hook is asked; None: there is no next one."""
        verdict = step.verdict
        if not isinstance(verdict, Accept) or verdict.changes.hold:
            return None
        if verdict.changes.is_none:
            return self
        if self.message is None or not isinstance(self.context, PostDataContext):
            assert not isinstance(self.context, PostDataContext)
            return replace(self, context=changed_context(self.context, verdict.changes))
        message = changed_message(self.message, verdict.changes)
        context = changed_post_data_context(self.context, verdict.changes, message.size)
        return replace(self, context=context, message=message)


@dataclass(frozen=True, slots=True)
class Seen:
    """One question to the hooks of a stage, and their answers in order."""

    time: float  # seconds since the epoch
    question: Question  # as the first of them got it
    steps: tuple[Step, ...]

    def at(self, place: str) -> tuple[Question, Step] | None:
        """What the hook `place` was asked and how that was answered; None: it was not reached."""
        for question, step in self._chain():
            if place in {step.place, step.hook}:
                return question, step
        return None

    def total(self) -> Effect:
        """What all of them together came to."""
        start, changes = self.question.start, NO_CHANGES
        for question, step in self._chain():
            if not isinstance(step.verdict, Accept):
                return effect_of(step.verdict, failure=step.failure)
            changes = joined(changes, step.verdict.changes)
            after = changed_message(HookMessage(question.start), step.verdict.changes)
            start = after.start
        effect = effect_of(Accept(changes))
        return replace(effect, headers=start[: head_length(start)]) if start else effect

    def _chain(self) -> Iterator[tuple[Question, Step]]:
        question: Question | None = self.question
        for step in self.steps:
            if question is None:
                return
            yield question, step
            question = question.after(step)
