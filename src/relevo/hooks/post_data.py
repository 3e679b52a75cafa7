"""The stage post-data: every hook is asked in turn, and what they want becomes one verdict.

The first verdict that is not accept ends it, and so does one for the quarantine: who comes behind
it is asked when the message is released. Each hook sees the message as those before it left
it; what the last one adds is on top. Nothing is changed here but the octets in memory: what the
hooks asked for is handed back and commits together with the message, or not at all.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from relevo.hooks import contract_v1
from relevo.hooks.caller import Called, Caller, daemon_environment
from relevo.hooks.contract import Accept, Changes, PostDataContext, Stage, Verdict
from relevo.hooks.contract.json_form import encode_context
from relevo.hooks.input_file import MEMFD_LIMIT, disk_file
from relevo.hooks.judging import joined, joined_tags, judge, on_failure, outcome_of, why_record
from relevo.hooks.programs import Form, Program
from relevo.mail.header_block import head_length, remove_fields, replace_field

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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

    async def ask(
        self,
        programs: list[Program],
        context: PostDataContext,
        message: HookMessage,
        *,
        raw_hello: str,
    ) -> PostDataOutcome:
        """Ask them. Never raises for anything that a hook does."""
        total = Changes()
        records: list[HookVerdict] = []
        passed: list[str] = []
        for program in programs:
            try:
                called = await self._call(program, context, message, raw_hello)
                verdict, reason = judge(called, Stage.POST_DATA)
                self._caller.count(called, outcome_of(called, verdict, reason))
            except OSError as error:  # no memory or disk for its input
                verdict = on_failure(program, Stage.POST_DATA)
                reason, called = f"no file for its input: {error}", None
            records.append(
                why_record(Stage.POST_DATA, context.message_id, program, called, verdict, reason)
            )
            if not isinstance(verdict, Accept):
                return PostDataOutcome(verdict, message.start, tuple(records))
            message = changed_message(message, verdict.changes)
            total = joined(total, verdict.changes)
            context = _changed_context(context, verdict.changes, message.size)
            passed.append(program.name)
            if verdict.changes.hold:
                break
        return PostDataOutcome(Accept(total), message.start, tuple(records), tuple(passed))

    async def _call(
        self, program: Program, context: PostDataContext, message: HookMessage, raw_hello: str
    ) -> Called:
        environment = self._caller.environment
        if program.form is Form.V1:
            told = []
            directory = str(self._caller.config.config_dir)
            environment = contract_v1.post_data_environment(
                context, daemon_environment(), directory, raw_hello
            )
        else:
            told = [encode_context(context)]
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
    start = changed_start(message.start, changes)
    if changes.body is not None:
        return HookMessage(start)
    return replace(message, start=start)


def _changed_context(context: PostDataContext, changes: Changes, size: int) -> PostDataContext:
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
