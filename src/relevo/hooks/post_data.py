"""The stage post-data: every hook is asked in turn, and what they want becomes one verdict.

The first verdict that is not accept ends it. Each hook sees the message as those before it left
it; what the last one adds is on top. Nothing is changed here but the octets in memory: what the
hooks asked for is handed back and commits together with the message, or not at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from relevo.hooks import contract_v1
from relevo.hooks.caller import Called, Caller, daemon_environment
from relevo.hooks.contract import (
    Accept,
    Changes,
    InvalidVerdict,
    OnError,
    PostDataContext,
    Refuse,
    Stage,
    Verdict,
)
from relevo.hooks.contract.json_form import DEFAULT_TEXTS, encode_context, post_data_verdict
from relevo.hooks.input_file import MEMFD_LIMIT, disk_file, memory_file
from relevo.hooks.programs import Form, Program
from relevo.hooks.statistics import HookOutcome
from relevo.journal.events import HookVerdict
from relevo.mail.header_block import head_length, remove_fields, replace_field

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

logger = logging.getLogger("relevo.hooks")

_SHOWN_ERRORS = 2000  # octets of stderr in the history


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
    """What the hooks said. `start` is the message's, with what they changed in the header."""

    verdict: Verdict
    start: bytes
    records: tuple[HookVerdict, ...]


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
        for program in programs:
            try:
                called = await self._call(program, context, message, raw_hello)
                verdict, reason = _judge(called)
                self._caller.count(called, _outcome(called, verdict, reason))
            except OSError as error:  # no memory or disk for its input
                verdict, reason = _on_failure(program, b""), f"no file for its input: {error}"
                called = None
            records.append(_record(program, context, called, verdict, reason))
            if isinstance(verdict, Refuse):
                return PostDataOutcome(verdict, message.start, tuple(records))
            message = replace(message, start=changed_start(message.start, verdict.changes))
            total = _joined(total, verdict.changes)
            context = _changed_context(context, verdict.changes, message.size)
        return PostDataOutcome(Accept(total), message.start, tuple(records))

    async def _call(
        self, program: Program, context: PostDataContext, message: HookMessage, raw_hello: str
    ) -> Called:
        directory = str(self._caller.config.config_dir)
        daemon = daemon_environment()
        with contextlib.ExitStack() as files:
            descriptors = [await _input(message)]
            files.callback(os.close, descriptors[0])
            if program.form is Form.V1:
                environment = contract_v1.post_data_environment(
                    context, daemon, directory, raw_hello
                )
            else:
                environment = contract_v1.alias_environment(daemon, directory)
                descriptors.append(memory_file(encode_context(context)))
                files.callback(os.close, descriptors[1])
            return await self._caller.call(program, environment, descriptors)


async def _input(message: HookMessage) -> int:
    if message.rest is None and message.size <= MEMFD_LIMIT:
        return memory_file(b"".join(contract_v1.lf_pieces(message.pieces())))
    return await asyncio.to_thread(disk_file, contract_v1.lf_pieces(message.pieces()))


def _judge(called: Called) -> tuple[Verdict, str]:
    """The verdict, and in words what is wrong with the hook, if anything."""
    program, report = called.program, called.report
    if not called.has_ended_by_itself:
        return _on_failure(program, report.output), report.describe()
    if program.form is Form.V1:
        try:
            return contract_v1.post_data_verdict(report.status, report.output), ""
        except InvalidVerdict as error:
            logger.warning("%s: output ignored: %s", program.name, error)
            return Accept(), f"output ignored: {error}"
    if report.status != 0:
        return _on_failure(program, b""), report.describe()
    try:
        return post_data_verdict(report.output), ""
    except InvalidVerdict as error:
        logger.warning("%s: %s", program.name, error)
        return _on_failure(program, b""), str(error)


def _outcome(called: Called, verdict: Verdict, reason: str) -> HookOutcome:
    if reason:
        is_accepted = called.has_ended_by_itself and isinstance(verdict, Accept)
        return HookOutcome.BAD_OUTPUT if is_accepted else HookOutcome.FAILED
    if isinstance(verdict, Accept):
        return HookOutcome.ACCEPTED
    return HookOutcome.REJECTED if verdict.is_permanent else HookOutcome.TEMPFAILED


def _on_failure(program: Program, output: bytes) -> Verdict:
    match program.on_error:
        case OnError.ACCEPT:
            return Accept()
        case OnError.TEMPFAIL:
            return contract_v1.refusal(output, is_permanent=False)
        case OnError.REJECT:
            return Refuse(554, "5.7.1", DEFAULT_TEXTS[5])


def changed_start(start: bytes, changes: Changes) -> bytes:
    """The header with what a hook wants changed."""
    if changes.remove or changes.replace:
        length = head_length(start)
        head = remove_fields(start[:length], *changes.remove)
        for name, field in changes.replace:
            head = replace_field(head, name, field)
        start = head + start[length:]
    return changes.add + start


def _joined(first: Changes, second: Changes) -> Changes:
    """What both want together, of what is not in the header."""
    if second.is_none:
        return first
    return Changes(
        add_recipients=first.add_recipients + second.add_recipients,
        remove_recipients=first.remove_recipients + second.remove_recipients,
        reverse_path=first.reverse_path if second.reverse_path is None else second.reverse_path,
        tags=tuple(dict.fromkeys(first.tags + second.tags)),
    )


def _changed_context(context: PostDataContext, changes: Changes, size: int) -> PostDataContext:
    if changes.is_none:
        return context
    reverse_path = context.reverse_path
    if changes.reverse_path is not None:
        reverse_path = changes.reverse_path or "<>"
    return replace(
        context,
        reverse_path=reverse_path,
        tags=tuple(dict.fromkeys(context.tags + changes.tags)),
        size=size,
    )


def _record(
    program: Program,
    context: PostDataContext,
    called: Called | None,
    verdict: Verdict,
    reason: str,
) -> HookVerdict:
    match verdict:
        case Accept(changes):
            said, change = "accept", changes.summary()
        case Refuse(code, enhanced, text):
            said, change = ("reject" if verdict.is_permanent else "tempfail"), ""
            reply = f"{code} {enhanced} {text}"
            reason = f"{reason}; {reply}" if reason else reply
    errors = called.report.errors if called is not None else b""
    return HookVerdict(
        time=time.time(),
        message_id=context.message_id,
        stage=Stage.POST_DATA.value,
        hook=program.name,
        version=called.version if called is not None else "",
        verdict=said,
        change=change,
        reason=reason,
        stderr=errors[:_SHOWN_ERRORS].decode("utf-8", "replace").strip(),
        seconds=round(called.report.seconds, 6) if called is not None else 0.0,
    )
