"""A unit's message as one transaction with a server that offers what it offers.

What the server cannot take is refused here, without asking it, with the reason and an enhanced
status code: larger than its SIZE (5.3.4), an address or header that needs SMTPUTF8 (5.6.7), what
needs BINARYMIME (5.6.1) or REQUIRETLS (5.7.30). A message with octets beyond ASCII for a server
without 8BITMIME is rewritten by `mail.seven_bit`, or refused (5.6.3) where that cannot be.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from relevo.delivery.attempt import Result, permanent, temporary
from relevo.delivery.letter import CannotBeSent, Letter, body_of, path_for
from relevo.journal import Outcome
from relevo.mail.header_block import field_values, head_length
from relevo.mail.seven_bit import CannotConvert, to_seven_bit
from relevo.outbound.wishes import TimeTooShort, with_priority, words_of
from relevo.queue.store import MemoryContent
from relevo.smtp import Outgoing, OutgoingRecipient
from relevo.smtp.events import (
    NO_RCPT_PARAMETERS,
    BodyType,
    MailParameters,
    Notify,
    Path,
    RcptParameters,
    Ret,
)
from relevo.smtp.wishes import NO_WISHES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from relevo.delivery.link_values import Transacted
    from relevo.queue.store import Content, QueuedRecipient, Unit
    from relevo.smtp.client_events import RecipientResult

MAX_CONVERTED = 32 * 1024 * 1024  # octets; a larger message is not rewritten
_BINARY = BodyType.BINARY_MIME.value
HEAD_OCTETS = 256 * 1024  # where a header block has ended


@dataclass(frozen=True, slots=True)
class _Refused(Exception):
    """For all recipients."""

    result: Result


async def prepare(
    unit: Unit,
    recipients: Sequence[QueuedRecipient],
    extensions: Mapping[str, str],
    reverse_path: str | None = None,
) -> Letter:
    """The transaction for these recipients, as far as the server can be told of them.

    `extensions`: what it offers. `reverse_path`: what it leaves with; None: the message's own.
    """
    if reverse_path is None:
        reverse_path = unit.envelope.reverse_path
    try:
        return await _prepare(unit, reverse_path, recipients, extensions)
    except _Refused as refused:
        return Letter(None, [refused.result] * len(recipients))


async def _prepare(
    unit: Unit,
    reverse_path_text: str,
    recipients: Sequence[QueuedRecipient],
    extensions: Mapping[str, str],
) -> Letter:
    """Raises _Refused."""
    if unit.envelope.requires_tls and "REQUIRETLS" not in extensions:
        raise _refuse("5.7.30", "the message demands REQUIRETLS, which the server does not offer")
    _check_size(unit.content.size, extensions.get("SIZE", ""))
    takes_utf8 = "SMTPUTF8" in extensions
    needs_utf8 = unit.envelope.smtputf8 and await _has_utf8_head(unit.content)
    if needs_utf8 and not takes_utf8:
        raise _refuse("5.6.7", "its header is not ASCII, and the server takes no other")
    try:
        reverse_path = path_for(reverse_path_text, takes_utf8=takes_utf8)
    except CannotBeSent as error:
        raise _refuse("5.6.7", f"the sender's address {error}") from error
    paths: list[Path] = []
    told: list[OutgoingRecipient] = []
    refused: list[Result | None] = []
    for recipient in recipients:
        try:
            path = path_for(recipient.target, takes_utf8=takes_utf8)
        except CannotBeSent as error:
            refused.append(permanent("5.6.7", f"the address {error}"))
            continue
        paths.append(path)
        told.append(OutgoingRecipient(path, _rcpt_parameters(recipient)))
        refused.append(None)
    if not told:
        return Letter(None, refused)
    try:
        wishes = words_of(unit, extensions, time.time())
    except TimeTooShort as error:
        raise _refuse("5.4.7", f"the time that the sender gave it is too short: {error}") from error
    body, body_type, size = await _body(unit, extensions)
    if wishes is not NO_WISHES:
        body, size = with_priority(body, size, wishes, extensions)
    are_ascii = "".join([path.local + path.domain for path in (reverse_path, *paths)]).isascii()
    envelope = unit.envelope
    parameters = MailParameters(
        size=size,
        body=body_type,
        smtputf8=needs_utf8 or not are_ascii,
        ret=Ret(envelope.ret) if envelope.ret else None,
        envid=envelope.envid or None,
        requiretls=envelope.requires_tls,
        wishes=wishes,
    )
    return Letter(Outgoing(reverse_path, tuple(told), body, parameters), refused)


async def renounces_tls(unit: Unit) -> bool:
    """Does the sender want it delivered rather than protected (RFC 8689 §3)?"""
    if unit.envelope.requires_tls:
        return False
    first = await _read_first(unit.content)
    values = field_values(first[: head_length(first)], "TLS-Required")
    return [value.strip().lower() for value in values] == [b"no"]


def judge(done: Transacted, server: str) -> Sequence[Result]:
    """What the server's answers mean, for each recipient that was sent."""
    return [_judge_one(result, server, done.failure) for result in done.results]


def _judge_one(result: RecipientResult | None, server: str, failure: str) -> Result:
    if result is None:
        return temporary("4.4.2", f"the connection to {server} failed: {failure}")
    reply = result.reply
    said = " ".join(filter(None, (f"{server} said: {reply.code}", reply.enhanced, reply.text)))
    if result.is_accepted:
        return Result(Outcome.DELIVERED, reply.enhanced or "2.0.0", said)
    if reply.code >= 500:
        return permanent(reply.enhanced or "5.0.0", said)
    return temporary(reply.enhanced if reply.enhanced.startswith("4") else "4.0.0", said)


def _refuse(status: str, text: str) -> _Refused:
    return _Refused(permanent(status, text))


def _check_size(size: int, offered: str) -> None:
    """Against the parameter of SIZE; 0 and what is no number are no limit (RFC 1870 §4)."""
    most = _size_limit(offered)
    if 0 < most < size:
        raise _refuse("5.3.4", f"the message has {size} octets, the server takes {most}")


@lru_cache(maxsize=256)
def _size_limit(offered: str) -> int:
    number = offered.split(None, 1)[0] if offered.strip() else ""
    return int(number[:20]) if number.isascii() and number.isdecimal() else 0


def _rcpt_parameters(recipient: QueuedRecipient) -> RcptParameters:
    if not (recipient.notify or recipient.orcpt):
        return NO_RCPT_PARAMETERS
    return RcptParameters(
        notify=frozenset(Notify(word) for word in recipient.notify),
        orcpt=recipient.orcpt or None,
    )


async def _has_utf8_head(content: Content) -> bool:
    first = await _read_first(content)
    return not first[: head_length(first)].isascii()


async def _read_first(content: Content) -> bytes:
    if isinstance(content, MemoryContent):
        return content.first(HEAD_OCTETS)
    return await asyncio.to_thread(content.first, HEAD_OCTETS)


async def _body(
    unit: Unit, extensions: Mapping[str, str]
) -> tuple[Iterable[bytes], BodyType | None, int]:
    """The octets to send, what they are called in BODY=, and how many they are."""
    content = unit.content
    is_binary = unit.envelope.body == _BINARY
    if is_binary and {"BINARYMIME", "CHUNKING", "PIPELINING"} <= extensions.keys():
        return body_of(content), BodyType.BINARY_MIME, content.size
    if "8BITMIME" in extensions and not is_binary:
        return body_of(content), BodyType.EIGHT_BIT_MIME, content.size
    if isinstance(content, MemoryContent) and content.data.isascii() and not is_binary:
        return body_of(content), None, content.size
    if content.size > MAX_CONVERTED:
        raise _refuse(*_NOT_TAKEN[is_binary])
    try:
        data = await asyncio.to_thread(_converted, content, "8BITMIME" in extensions)
    except CannotConvert as error:
        status, text = _NOT_TAKEN[is_binary]
        raise _refuse(status, f"{text}, and it cannot be rewritten: {error}") from error
    body_type = BodyType.EIGHT_BIT_MIME if "8BITMIME" in extensions else None
    return (data,), body_type, len(data)


_NOT_TAKEN = {
    False: ("5.6.3", "the message has octets beyond ASCII, the server takes no such"),
    True: ("5.6.1", "the message is binary, the server takes no such"),
}


def _converted(content: Content, takes_eight_bit: bool) -> bytes:
    return to_seven_bit(b"".join(content.chunks()), keeps_eight_bit=takes_eight_bit)
