"""The stage post-data: every hook is asked in turn, and what they want becomes one verdict.

The first verdict that is not accept ends it, and so does one for the quarantine: who comes behind
it is asked when the message is released. Each hook sees the message as those before it left
it; what the last one adds is on top. Nothing is changed here but the octets in memory: what the
hooks asked for is handed back and commits together with the message, or not at all.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from relevo.hooks import contract_v1
from relevo.hooks.caller import NOTHING_MORE, Called, Caller
from relevo.hooks.contract import Accept, Changes, PostDataContext, Stage, Verdict
from relevo.hooks.contract.json_form import encode_context
from relevo.hooks.contract.verdicts import NO_CHANGES
from relevo.hooks.input_file import MEMFD_LIMIT, disk_file
from relevo.hooks.judging import joined, joined_tags, judge, on_failure, outcome_of, why_record
from relevo.hooks.programs import Form, Program
from relevo.hooks.steps import Step
from relevo.mail.header_block import head_length, remove_fields, replace_field
from relevo.value import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from relevo.journal.events import HookVerdict


@dataclass(frozen=True, slots=True)
class HookMessage:
    """A message before it is queued: what is in memory, and the rest where it is spooled.

    `start` holds the whole header block. `rest` is blocking, and None when `start` is all.
    """

    start: bytes
    rest: Callable[[], Iterator[bytes]] | None = None
    rest_size: int = 0

    @property
    def size(self) -> int:
        return len(self.start) + self.rest_size

    def pieces(self) -> Iterator[bytes]:
        yield self.start
        if self.rest is not None:
            yield from self.rest()


@dataclass(frozen=True, slots=True)
class PostDataOutcome:
    """What the hooks said. `start` is the message's, with what they changed in the header.

    The first that wants the message in quarantine (`verdict.changes.hold`) is the last one asked.
    `passed` names those that accepted, it included.
    """

    verdict: Verdict
    start: bytes
    records: tuple[HookVerdict, ...]
    passed: tuple[str, ...] = ()


class PostDataHooks:
    """Asks the hooks of this stage."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def find(self) -> list[Program]:
        """The hooks there are now; [] is the ordinary case and cheap."""
        return self._caller.programs.of(Stage.POST_DATA)

    @property
    def is_watched(self) -> bool:
        """Whether `ask` is to be called even without hooks: for a shadow, or to keep the mail."""
        trials = self._caller.trials
        return trials is not None and trials.watches(Stage.POST_DATA)

    async def ask(
        self,
        programs: list[Program],
        context: PostDataContext,
        message: HookMessage,
        *,
        raw_hello: str,
    ) -> PostDataOutcome:
        """Ask them. Never raises for anything that a hook does."""
        trials = self._caller.trials
        if trials is None or not trials.watches(Stage.POST_DATA):
            return await self._ask(programs, context, message, raw_hello, None)
        steps: list[Step] = []
        outcome = await self._ask(programs, context, message, raw_hello, steps)
        await trials.saw_message(context, message, raw_hello, steps)
        return outcome

    async def _ask(
        self,
        programs: list[Program],
        context: PostDataContext,
        message: HookMessage,
        raw_hello: str,
        steps: list[Step] | None,
    ) -> PostDataOutcome:
        """`steps` gets all answers, where somebody wants them."""
        trials = self._caller.trials
        total = NO_CHANGES
        records: list[HookVerdict] = []
        passed: list[str] = []
        for place in programs:
            program = place if trials is None else trials.chosen(place, context)
            verdict, called, reason = await self.ask_one(program, context, message, raw_hello)
            if steps is not None:
                steps.append(Step.of(place, program, called, verdict, reason))
            records.append(
                why_record(Stage.POST_DATA, context.message_id, program, called, verdict, reason)
            )
            if not isinstance(verdict, Accept):
                return PostDataOutcome(verdict, message.start, tuple(records))
            message = changed_message(message, verdict.changes)
            total = joined(total, verdict.changes)
            context = changed_post_data_context(context, verdict.changes, message.size)
            passed.append(place.name)
            if verdict.changes.hold:
                break
        return PostDataOutcome(Accept(total), message.start, tuple(records), tuple(passed))

    async def ask_one(
        self,
        program: Program,
        context: PostDataContext,
        message: HookMessage,
        raw_hello: str,
        more: Mapping[str, str] = NOTHING_MORE,
    ) -> tuple[Verdict, Called | None, str]:
        """Its verdict, the call, and in words what was wrong with it. `more`: variables."""
        try:
            called = await self._call(program, context, message, raw_hello, more)
        except OSError as error:  # no memory or disk for its input
            verdict = on_failure(program, Stage.POST_DATA)
            return verdict, None, f"no file for its input: {error}"
        verdict, reason = judge(called, Stage.POST_DATA)
        self._caller.count(called, outcome_of(called, verdict, reason))
        return verdict, called, reason

    async def _call(
        self,
        program: Program,
        context: PostDataContext,
        message: HookMessage,
        raw_hello: str,
        more: Mapping[str, str],
    ) -> Called:
        environment = self._caller.environment
        if program.form is Form.V1:
            told = []
            directory = str(self._caller.config.config_dir)
            environment = contract_v1.post_data_environment(
                context, environment, directory, raw_hello
            )
        else:
            told = [encode_context(context)]
        if more:
            environment = {**environment, **more}
        stdin = contract_v1.lf_pieces(message.pieces())
        if message.rest is None and message.size <= MEMFD_LIMIT:
            return await self._caller.call(program, environment, [b"".join(stdin), *told])
        file = await asyncio.to_thread(disk_file, stdin)
        try:
            return await self._caller.call(program, environment, [file, *told])
        finally:
            os.close(file)


def changed_start(start: bytes, changes: Changes) -> bytes:
    """The header with what a hook wants changed."""
    if changes.head is not None:
        start = changes.head.octets + start[head_length(start) :]
    if changes.remove or changes.replace:
        length = head_length(start)
        head = remove_fields(start[:length], *changes.remove)
        for name, field in changes.replace:
            head = replace_field(head, name, field)
        start = head + start[length:]
    if changes.body is not None:
        start = start[: head_length(start)] + b"\r\n" + changes.body
    return changes.add + start


def changed_message(message: HookMessage, changes: Changes) -> HookMessage:
    """The message as the next hook sees it; with a new body nothing of it is spooled any more."""
    if changes.is_none:
        return message
    start = changed_start(message.start, changes)
    if changes.body is not None:
        return HookMessage(start)
    return replace(message, start=start)


def changed_post_data_context(
    context: PostDataContext, changes: Changes, size: int
) -> PostDataContext:
    """What the next hook is told."""
    if changes.is_none:
        return context
    reverse_path = context.reverse_path
    if changes.reverse_path is not None:
        reverse_path = changes.reverse_path or "<>"
    return replace(
        context,
        reverse_path=reverse_path,
        tags=joined_tags(context.tags, changes.tags),
        size=size,
    )
