"""From a complete message to what the queue stores: content checks, expansion, trace fields.

Order (docs/architecture.md): header check → loop check → completion of a submission → every
recipient expanded → trace fields on top → post-data hooks → units by route. A failure of any step
is a `MessageRefused` with the reply that says so, and nothing is stored.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from relevo.delivery import ExpandedTarget, plan_units
from relevo.directory import ExpansionFailed
from relevo.journal import Accepted
from relevo.mail import (
    MT_PRIORITY,
    ReceptionFacts,
    check_header,
    complete_submission,
    count_received,
    head_length,
    protocol_name,
    received_field,
)
from relevo.mail.header_block import remove_fields
from relevo.mailauth import (
    SpfOutcome,
    arc_method_result,
    authentication_results_field,
    dkim_method_results,
    dmarc_method_result,
    received_spf_field,
    remove_forged_results,
    spf_method_result,
)
from relevo.mailauth.arc import ArcOutcome
from relevo.mailauth.dmarc import QUARANTINE_FIELD, Policy, quarantine_field
from relevo.queue.store import Envelope, NewMessage
from relevo.reception import answers
from relevo.reception.quarantine import quarantined
from relevo.reception.wishes import stored_wishes
from relevo.value import dataclass

if TYPE_CHECKING:
    from relevo.config import Config
    from relevo.delivery import RouteTable
    from relevo.delivery.forwarding import Forwarding
    from relevo.directory import AliasHooks, Directory, Target
    from relevo.journal import Event, HookVerdict
    from relevo.mailauth import MethodResult
    from relevo.queue.store import MessageId
    from relevo.reception.answers import Answer
    from relevo.reception.arriving import ArrivingMessage
    from relevo.reception.line import Line
    from relevo.reception.services import Mode, Services
    from relevo.reception.transaction import AcceptedRecipient, Transaction


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a message came in."""

    time: float  # seconds since the epoch
    message_id: MessageId
    mode: str
    client: str  # ip:port
    client_ip: str
    hello_name: str
    hostname: str
    is_esmtp: bool
    tls_version: str  # as `ssl` says it; "" on plain text
    tls_cipher: str
    identity: str  # who logged in, or ""
    authserv_id: str  # who says what stands in Authentication-Results (RFC 8601 §2.5)


def arrival_of(line: Line, services: Services, mode: Mode, identity: str) -> Arrival:
    """How the message comes in that this connection is about to end."""
    session = line.session
    return Arrival(
        time=time.time(),
        message_id=services.new_id(),
        mode=mode.value,
        client=line.client,
        client_ip=line.client_ip,
        hello_name=session.hello_name,
        hostname=session.settings.hostname,
        is_esmtp=session.is_esmtp,
        tls_version=line.tls_version,
        tls_cipher=line.tls_cipher,
        identity=identity,
        authserv_id=services.config.hostname,
    )


class MessageRefused(Exception):
    """The message is not accepted: the answer for the client and the detail for the log."""

    def __init__(self, answer: Answer, detail: str = "") -> None:
        super().__init__(detail or answer.text)
        self.answer = answer


Expansion = list[ExpandedTarget]


@dataclass(frozen=True, slots=True)
class Hooked:
    """A message as the hooks left it, or as it is without any."""

    start: bytes  # the header block and whatever else of the message is in memory
    expansion: Expansion
    records: tuple[HookVerdict, ...] = ()


def check_content(message: ArrivingMessage, config: Config) -> None:
    """Header block readable and not too large, and no loop. Raises MessageRefused."""
    if message.is_header_too_large:
        raise MessageRefused(answers.HEADER_TOO_LARGE)
    start = message.start()
    problem = check_header(start)
    if problem is not None:
        raise MessageRefused(answers.HEADER_BROKEN.with_detail(problem.text))
    head = start[: head_length(start)]
    if len(head) > config.limits.header_size:
        raise MessageRefused(answers.HEADER_TOO_LARGE)
    if count_received(head) > config.limits.received_headers:
        raise MessageRefused(answers.LOOPS)


def expand_now(
    recipients: list[AcceptedRecipient], directory: Directory, limit: int
) -> Expansion | None:
    """Final targets of all recipients from memory; None: `expand` must be awaited.

    Raises MessageRefused.
    """
    expansion: Expansion = []
    for recipient in recipients:
        if recipient.redirect:
            return None
        try:
            targets = directory.expand_now(recipient.address)
        except ExpansionFailed as error:
            raise _not_expanded(recipient, error) from error
        if targets is None:
            return None
        expansion += [_expanded(recipient, target) for target in targets]
    return _bounded(expansion, limit)


async def expand(
    recipients: list[AcceptedRecipient],
    directory: Directory,
    limit: int,
    hooks: AliasHooks | None = None,
) -> Expansion:
    """Final targets of all recipients, asking whom it takes. Raises MessageRefused."""
    expansion: Expansion = []
    wanted = [
        (recipient, address)
        for recipient in recipients
        for address in recipient.redirect or (recipient.address,)
    ]
    found = await asyncio.gather(
        *(directory.expand(address, hooks) for _, address in wanted), return_exceptions=True
    )
    for (recipient, _), targets in zip(wanted, found, strict=True):
        if isinstance(targets, ExpansionFailed):
            raise _not_expanded(recipient, targets) from targets
        if isinstance(targets, BaseException):
            raise targets
        expansion += [_expanded(recipient, target) for target in targets]
    return _bounded(expansion, limit)


def traced_start(transaction: Transaction, message: ArrivingMessage, arrival: Arrival) -> bytes:
    """What of the message is in memory, completed and with our trace fields on top.

    Nothing that claims to be our Authentication-Results is left of what the client sent.
    """
    facts = ReceptionFacts(
        hello_name=arrival.hello_name,
        client_ip=arrival.client_ip,
        is_authenticated=bool(arrival.identity),
        hostname=arrival.hostname,
        protocol=_protocol(transaction, arrival),
        tls_version=arrival.tls_version,
        tls_cipher=arrival.tls_cipher,
        mode=arrival.mode,
        reverse_path=transaction.reverse_path.plain,
        message_id=arrival.message_id,
        time=arrival.time,
        priority=transaction.parameters.wishes.priority,
    )
    head, rest = own_head(message, arrival)
    if facts.priority is not None:  # what the client says of it is in MAIL (RFC 6758 §4)
        head = remove_fields(head, MT_PRIORITY)
    authenticated = b"" if arrival.identity else _authentication_fields(transaction, arrival)
    own = (transaction.hook_fields, authenticated, received_field(facts), transaction.signatures)
    return b"".join((*own, head, rest))


def own_head(message: ArrivingMessage, arrival: Arrival) -> tuple[bytes, bytes]:
    """The head that we answer for, and what of the message behind it is in memory.

    It is the client's, without results and marks that would count as ours; that of a user is
    complete. The same at each call.
    """
    start = message.start()
    length = head_length(start)
    head = remove_forged_results(start[:length], arrival.authserv_id)
    head = remove_fields(head, QUARANTINE_FIELD)
    if arrival.identity:
        head = complete_submission(
            head, now=arrival.time, message_id=arrival.message_id, hostname=arrival.hostname
        )
    return head, start[length:]


def compose(
    transaction: Transaction,
    message: ArrivingMessage,
    arrival: Arrival,
    hooked: Hooked,
    directory: Directory,
    routes: RouteTable,
    forwarding: Forwarding,
) -> NewMessage:
    """The message as it is stored, with its events."""
    content = message.content(hooked.start)
    parameters = transaction.parameters
    wishes = stored_wishes(parameters.wishes, arrival.time)
    envelope = Envelope(
        reverse_path=str(transaction.reverse_path),
        body=parameters.body.value if parameters.body else "",
        smtputf8=parameters.smtputf8,
        ret=parameters.ret.value if parameters.ret else "",
        envid=parameters.envid or "",
        requires_tls=parameters.requiretls,
        auth=arrival.identity,
        tags=transaction.hook_tags,
        wishes=wishes,
    )
    event = Accepted(
        time=arrival.time,
        message_id=arrival.message_id,
        client=arrival.client,
        reverse_path=transaction.reverse_path.plain,
        forward_paths=transaction.forward_paths,
        size=content.size,
        protocol=_protocol(transaction, arrival),
        auth=arrival.identity,
        tls=f"{arrival.tls_version} {arrival.tls_cipher}" if arrival.tls_version else "",
    )
    units = plan_units(
        hooked.expansion,
        is_local=directory.is_local,
        now=arrival.time,
        route_of=routes.for_sender(envelope.reverse_path),
        rewrite=forwarding.for_sender(transaction.reverse_path, arrival.identity),
    )
    if wishes is not None and wishes.hold:
        units = tuple(
            [replace(unit, due=max(unit.due, arrival.time + wishes.hold)) for unit in units]
        )
    events: tuple[Event, ...] = (event, *hooked.records)
    if transaction.hook_records:
        events = (event, *transaction.records_of(arrival.message_id), *hooked.records)
    new = NewMessage(arrival.message_id, arrival.time, envelope, content, units, events)
    if transaction.set_aside is not None:
        return quarantined(new, transaction, arrival, directory)
    return new


def method_results(transaction: Transaction) -> list[MethodResult]:
    """What was found out about sender and message, in the order of Authentication-Results."""
    spf, helo_spf, findings = transaction.spf, transaction.helo_spf, transaction.findings
    results = [] if spf is None else [spf_method_result(spf)]
    if helo_spf is not None and helo_spf.outcome is not SpfOutcome.NONE:
        results.append(spf_method_result(helo_spf))
    if findings is not None:
        results += [] if findings.dkim is None else dkim_method_results(findings.dkim)
        if findings.arc.outcome is not ArcOutcome.NONE:
            results.append(arc_method_result(findings.arc))
        if findings.dmarc is not None:
            results.append(
                dmarc_method_result(findings.dmarc, findings.handling, findings.forwarder)
            )
    return results


def _authentication_fields(transaction: Transaction, arrival: Arrival) -> bytes:
    """For those who read the message."""
    field = authentication_results_field(arrival.authserv_id, method_results(transaction))
    if transaction.spf is not None:
        field += received_spf_field(transaction.spf)
    findings = transaction.findings
    if findings is not None and findings.handling is Policy.QUARANTINE:
        assert findings.dmarc is not None
        field += quarantine_field(findings.dmarc)
    return field


def _protocol(transaction: Transaction, arrival: Arrival) -> str:
    return protocol_name(
        is_esmtp=arrival.is_esmtp,
        is_tls=bool(arrival.tls_version),
        is_authenticated=bool(arrival.identity),
        is_smtputf8=transaction.parameters.smtputf8,
    )


def _expanded(recipient: AcceptedRecipient, target: Target) -> ExpandedTarget:
    notify = tuple(sorted(keyword.value for keyword in recipient.parameters.notify))
    return ExpandedTarget(target, recipient.address, notify, recipient.parameters.orcpt or "")


def _bounded(expansion: Expansion, limit: int) -> Expansion:
    if len(expansion) > limit:
        raise MessageRefused(
            answers.TOO_MANY_EXPANDED, f"{len(expansion)} recipients after expansion"
        )
    return expansion


def _not_expanded(recipient: AcceptedRecipient, error: ExpansionFailed) -> MessageRefused:
    return MessageRefused(
        answers.CANNOT_QUEUE, f"error resolving aliases for {recipient.address.plain!r}: {error}"
    )
