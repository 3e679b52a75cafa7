"""The post-data step of reception: what the hooks are told of a message, and what they change.

Everything a hook asked for is put into the values that one commit stores: the header is part of
the content, added recipients are expanded like any other, tags and verdicts are rows of history.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, assert_never

from relevo.hooks.contract import Accept, Discard, Refuse, Stage
from relevo.hooks.judging import joined_tags
from relevo.hooks.post_data import HookMessage, PostDataHooks
from relevo.mail import InvalidAddress, parse_address
from relevo.reception import answers
from relevo.reception.acceptance import Arrival, Expansion, Hooked, MessageRefused, expand
from relevo.reception.answers import Answer
from relevo.reception.post_data_context import context_of
from relevo.reception.quarantine import SetAside, has_room
from relevo.reception.transaction import AcceptedRecipient, Transaction
from relevo.smtp.events import NO_RCPT_PARAMETERS, BodyType

if TYPE_CHECKING:
    from relevo.config import Config
    from relevo.directory import Directory
    from relevo.hooks.contract import Changes
    from relevo.hooks.programs import Program
    from relevo.journal import HookVerdict
    from relevo.mail import Address
    from relevo.queue import SqliteStore
    from relevo.reception.arriving import ArrivingMessage


logger = logging.getLogger("relevo.reception")

MAX_ADDRESS = 256  # octets (RFC 5321 §4.5.3.1.3)


class RefusedByHook(MessageRefused):
    """A hook does not want the message; `records` say which, and why."""

    def __init__(self, answer: Answer, records: tuple[HookVerdict, ...], detail: str = "") -> None:
        super().__init__(answer, detail)
        self.records = records


async def ask_hooks(
    hooks: PostDataHooks,
    programs: list[Program],
    transaction: Transaction,
    arrival: Arrival,
    message: ArrivingMessage,
    hooked: Hooked,
    directory: Directory,
    limit: int,
) -> Hooked:
    """Ask the programs. The sender of the transaction may change. Raises MessageRefused.

    Of a message that goes into quarantine they are asked when it is released.
    """
    if transaction.set_aside is not None:
        return hooked
    rest = message.rest()
    seen = HookMessage(
        hooked.start,
        rest=None if rest is None else rest.chunks,
        rest_size=0 if rest is None else rest.size,
    )
    context = context_of(transaction, arrival, hooked.expansion, directory, seen.size)
    outcome = await hooks.ask(programs, context, seen, raw_hello=arrival.hello_name)
    match outcome.verdict:
        case Refuse(code, enhanced, text):
            raise RefusedByHook(Answer(code, enhanced, text), outcome.records)
        case Discard():
            return Hooked(outcome.start, [], outcome.records)
        case Accept(changes):
            try:
                expansion = await changed_recipients(hooked.expansion, changes, directory, limit)
                if changes.reverse_path is not None:
                    transaction.reverse_path = hook_address(changes.reverse_path)
            except MessageRefused as error:
                raise RefusedByHook(error.answer, outcome.records, str(error)) from error
            if changes.body is not None:
                _replace_body(transaction, message, changes.body)
            if changes.hold:
                transaction.set_aside = SetAside(
                    Stage.POST_DATA.value, outcome.passed[-1], changes.hold, outcome.passed, changes
                )
            transaction.hook_tags = joined_tags(transaction.hook_tags, changes.tags)
            return Hooked(outcome.start, expansion, outcome.records)
        case _:
            assert_never(outcome.verdict)


async def check_room(
    store: SqliteStore, message: ArrivingMessage, hooked: Hooked, config: Config
) -> None:
    """Whether the quarantine takes one more. Raises MessageRefused."""
    rest = message.rest()
    size = len(hooked.start) + (0 if rest is None else rest.size)
    if not await has_room(store, size, config.quarantine):
        logger.warning("the quarantine is full: nothing more is taken that is to go there")
        raise MessageRefused(answers.QUARANTINE_FULL)


def _replace_body(transaction: Transaction, message: ArrivingMessage, body: bytes) -> None:
    """All of the message is in memory now; what was spooled goes."""
    message.drop()
    if not body.isascii() and transaction.parameters.body is not BodyType.BINARY_MIME:
        transaction.parameters = replace(transaction.parameters, body=BodyType.EIGHT_BIT_MIME)


async def changed_recipients(
    expansion: Expansion, changes: Changes, directory: Directory, limit: int
) -> Expansion:
    """Without those removed (forward-paths or targets), with what those added stand for.

    With a redirect, what its addresses stand for takes the place of all that was.
    """
    if changes.redirect:
        instead = [_added(text, directory) for text in changes.redirect]
        expansion = await expand(instead, directory, limit)
    if changes.remove_recipients:
        removed = {hook_address(text) for text in changes.remove_recipients}
        expansion = [
            expanded
            for expanded in expansion
            if expanded.original not in removed
            and getattr(expanded.target, "address", None) not in removed
        ]
    if changes.add_recipients:
        added = [_added(text, directory) for text in changes.add_recipients]
        expansion = expansion + await expand(added, directory, limit)
    return expansion


def _added(text: str, directory: Directory) -> AcceptedRecipient:
    return AcceptedRecipient(hook_recipient(text, directory), NO_RCPT_PARAMETERS)


def hook_recipient(text: str, directory: Directory) -> Address:
    """A recipient that a hook gave, in stored form. Raises MessageRefused."""
    address = hook_address(text)
    try:
        return directory.normalize_recipient(address.local, address.domain)
    except InvalidAddress as error:
        raise _bad_address(text) from error


def hook_address(text: str) -> Address:
    """An address that a hook gave; "" is the null one. Raises MessageRefused."""
    try:
        address = parse_address(text)
    except InvalidAddress as error:
        raise _bad_address(text) from error
    if len(text.encode()) > MAX_ADDRESS or not (address.domain or address.is_null):
        raise _bad_address(text)
    return address


def _bad_address(text: str) -> MessageRefused:
    shown = repr(text[:MAX_ADDRESS])
    return MessageRefused(answers.CANNOT_QUEUE, f"a hook gave {shown}, which is no address")
