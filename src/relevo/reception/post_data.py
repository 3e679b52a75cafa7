"""The post-data step of reception: what the hooks are told of a message, and what they change.

Everything a hook asked for is put into the values that one commit stores: the header is part of
the content, added recipients are expanded like any other, tags and verdicts are rows of history.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from relevo.directory import MailTarget, PipeTarget, Target, ViaTarget
from relevo.hooks.contract import Accept, Client, PostDataContext, Recipient, Refuse, Tls
from relevo.hooks.post_data import HookMessage, PostDataHooks
from relevo.mail import InvalidAddress, parse_address
from relevo.reception import answers
from relevo.reception.acceptance import Arrival, Expansion, Hooked, MessageRefused, expand
from relevo.reception.answers import Answer
from relevo.reception.transaction import AcceptedRecipient, Transaction
from relevo.smtp.events import NO_RCPT_PARAMETERS

if TYPE_CHECKING:
    from relevo.directory import Directory
    from relevo.hooks.contract import Changes
    from relevo.hooks.programs import Program
    from relevo.journal import HookVerdict
    from relevo.mail import Address
    from relevo.reception.arriving import ArrivingMessage


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
    """Ask the programs. The sender of the transaction may change. Raises MessageRefused."""
    rest = message.rest()
    seen = HookMessage(
        hooked.start,
        rest=None if rest is None else rest.chunks,
        rest_size=0 if rest is None else rest.size,
    )
    context = _context(transaction, arrival, hooked.expansion, directory, seen.size)
    outcome = await hooks.ask(programs, context, seen, raw_hello=arrival.hello_name)
    match outcome.verdict:
        case Refuse(code, enhanced, text):
            raise RefusedByHook(Answer(code, enhanced, text), outcome.records)
        case Accept(changes):
            try:
                expansion = await _changed_recipients(hooked.expansion, changes, directory, limit)
                if changes.reverse_path is not None:
                    transaction.reverse_path = _address(changes.reverse_path)
            except MessageRefused as error:
                raise RefusedByHook(error.answer, outcome.records, str(error)) from error
            return Hooked(outcome.start, expansion, outcome.records)
        case _:
            assert_never(outcome.verdict)


def _context(
    transaction: Transaction,
    arrival: Arrival,
    expansion: Expansion,
    directory: Directory,
    size: int,
) -> PostDataContext:
    reverse_path = transaction.reverse_path
    tls = Tls(arrival.tls_version, arrival.tls_cipher) if arrival.tls_version else None
    return PostDataContext(
        message_id=arrival.message_id,
        client=Client.of(arrival.client, arrival.hello_name),
        tls=tls,
        auth=arrival.identity,
        reverse_path=reverse_path.plain,
        forward_paths=transaction.forward_paths,
        recipients=tuple(
            _recipient(expanded.target, expanded.original.plain) for expanded in expansion
        ),
        spf_result=transaction.spf.outcome.value if transaction.spf else "none",
        is_from_local_domain=reverse_path.is_null or directory.is_local(reverse_path.domain),
        is_smtputf8=transaction.parameters.smtputf8,
        size=size,
    )


def _recipient(target: Target, original: str) -> Recipient:
    match target:
        case MailTarget(address):
            return Recipient(address.plain, "mail", original)
        case ViaTarget(address):
            return Recipient(address.plain, "via", original)
        case PipeTarget(words):
            return Recipient(" ".join(words), "pipe", original)
        case _:
            assert_never(target)


async def _changed_recipients(
    expansion: Expansion, changes: Changes, directory: Directory, limit: int
) -> Expansion:
    """Without those removed (forward-paths or targets), with what those added stand for."""
    if changes.remove_recipients:
        removed = {_address(text) for text in changes.remove_recipients}
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
    address = _address(text)
    try:
        address = directory.normalize_recipient(address.local, address.domain)
    except InvalidAddress as error:
        raise _bad_address(text) from error
    return AcceptedRecipient(address, NO_RCPT_PARAMETERS)


def _address(text: str) -> Address:
    try:
        return parse_address(text)
    except InvalidAddress as error:
        raise _bad_address(text) from error


def _bad_address(text: str) -> MessageRefused:
    return MessageRefused(answers.CANNOT_QUEUE, f"a hook gave {text!r}, which is no address")
