"""Who is told about the fate of a message: the decision to send a DSN, and its way into the queue.

Decided at each attempt, not at the end of the message: failures and give-ups of one attempt,
deliveries for which NOTIFY=SUCCESS was asked, and recipients that wait for too long, once each,
make one DSN to the reverse-path. It commits together with the outcome it tells of.

A server that offers DSN was given NOTIFY with the recipient and tells of the delivery itself; for
another one the report says "relayed" (RFC 3461 §5.2.2).

Never: for a message with the null reverse-path (RFC 5321 §6.1), for a recipient whose NOTIFY
excludes it (RFC 3461 §4.1), more than so many a minute to one address (`NoticeLimits`). A DSN that
fails goes to the postmaster, once; when that fails too it ends with a line in the log. So there is
no loop.

A DSN counts against no limit of the queue and carries no trace field.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, assert_never

from relevo.delivery.notice_limits import NoticeLimits
from relevo.delivery.routing import (
    LMTP,
    LOCAL,
    PIPE,
    ExpandedTarget,
    plan_units,
    route_kind,
    to_exchangers,
)
from relevo.delivery.settlement import Fate, Settled
from relevo.directory import ExpansionFailed, MailTarget
from relevo.journal import Accepted, DsnSent
from relevo.mail import (
    MAX_ATTACHED,
    Address,
    DsnAction,
    DsnFacts,
    DsnRecipient,
    InvalidAddress,
    compose_dsn,
    parse_address,
)
from relevo.queue import new_id
from relevo.queue.store import Envelope, MemoryContent, NewMessage, TargetKind, Wishes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from relevo.directory import Target
    from relevo.queue.store import MessageId, QueuedRecipient, Unit

_log = logging.getLogger(__name__)

_FAILURES = frozenset({Fate.FAILED, Fate.GIVEN_UP})
_DELIVERING = frozenset({LOCAL, PIPE, LMTP})  # routes that end in a mailbox or command


class NotificationPostponed(Exception):
    """A sender of ours cannot be told now, because its aliases cannot be resolved now."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the decision needs to know. All of it is asked anew at each DSN."""

    hostname: str
    is_local: Callable[[str], bool]
    expand: Callable[[Address], Awaitable[tuple[Target, ...]]]
    postmaster: Callable[[], Address | None]
    new_id: Callable[[float], MessageId] = new_id
    fallback_domain: str = "unknown"
    route_of: Callable[[str], str] = to_exchangers  # of mail from <> to another domain
    is_local_smtp: bool = False  # mailboxes are behind a server whose replies are SMTP's (LMTP)
    limits: NoticeLimits = field(default_factory=lambda: NoticeLimits(0))
    # Until when a message is tried, by the time it came; None: that is not said.
    gives_up: Callable[[float], float] | None = None


@dataclass(frozen=True, slots=True)
class Notification:
    """A DSN and the event that tells of it."""

    dsn: NewMessage
    event: DsnSent


def is_of_interest(settled: Settled) -> bool:
    """Does the sender want to hear of this? (RFC 3461 §4.1; default: of failures and delays.)"""
    notify = settled.recipient.notify
    match settled.fate:
        case Fate.FAILED | Fate.GIVEN_UP:
            return not notify or "FAILURE" in notify
        case Fate.DELIVERED:
            if settled.is_relay_told:
                return "NEVER" not in notify
            return "SUCCESS" in notify and not settled.is_passed_on
        case Fate.LATE:
            return not notify or "DELAY" in notify
        case Fate.WAITING:
            return False


def dsn_domain(reverse_path: Address, originals: Iterable[str], around: Surroundings) -> str:
    """In whose name a DSN speaks: the sender's domain if ours, else the first original of ours."""
    if reverse_path.domain and around.is_local(reverse_path.domain):
        return reverse_path.domain
    for original in originals:
        domain = original.rpartition("@")[2]
        if domain and around.is_local(domain):
            return domain
    return around.fallback_domain


async def notify(
    unit: Unit, tried: Sequence[Settled], around: Surroundings, *, now: float, may_postpone: bool
) -> Notification | None:
    """The DSN that an attempt calls for, if any.

    Raises NotificationPostponed if the sender's aliases cannot be resolved, `may_postpone` and a
    failure is to be told; else such a DSN goes to the sender's own mailbox.
    """
    told = tuple(settled for settled in tried if is_of_interest(settled))
    if not told:
        return None
    addressee = _addressee(unit, told, around)
    if addressee is None:
        return None
    has_failures = any(settled.fate in _FAILURES for settled in told)
    if not around.limits.admits(str(addressee), now):
        return None
    targets = await _targets(addressee, around, may_postpone=may_postpone and has_failures)
    dsn_id = around.new_id(now)
    originals = [recipient.original for recipient in unit.recipients]
    facts = DsnFacts(
        domain=dsn_domain(addressee, originals, around),
        hostname=around.hostname,
        reverse_path=str(addressee),
        recipients=tuple(_dsn_recipient(unit, settled, around) for settled in told),
        original=await _beginning(unit),
        arrival=unit.created,
        now=now,
        token=dsn_id,
        envid=unit.envelope.envid,
        returns_headers_only=unit.envelope.ret == "HDRS"
        or unit.envelope.requires_tls
        or not has_failures,
        will_retry_until=around.gives_up(unit.since) if around.gives_up else None,
        deliver_by=None if unit.deadline == inf else unit.deadline,
        takes_smtputf8=unit.envelope.smtputf8 or not addressee.local.isascii(),
    )
    content = MemoryContent(compose_dsn(facts))
    accepted = Accepted(
        time=now,
        message_id=dsn_id,
        client="",
        reverse_path="<>",
        forward_paths=(addressee.plain,),
        size=content.size,
    )
    units = plan_units(
        (ExpandedTarget(target, addressee) for target in targets),
        is_local=around.is_local,
        now=now,
        route_of=around.route_of,
    )
    envelope = Envelope(
        "",
        body="8BITMIME",
        smtputf8=facts.needs_smtputf8,
        is_dsn=True,
        requires_tls=unit.envelope.requires_tls,
        wishes=_as_urgent(unit),
    )
    dsn = NewMessage(dsn_id, now, envelope, content, units, (accepted,))
    return Notification(dsn, DsnSent(now, unit.message_id, dsn_id, addressee.plain))


def _as_urgent(unit: Unit) -> Wishes | None:
    """A DSN has the priority of its message (RFC 6710 §4.5)."""
    wishes = unit.envelope.wishes
    return Wishes(priority=wishes.priority) if wishes is not None and wishes.priority else None


def _addressee(unit: Unit, told: Sequence[Settled], around: Surroundings) -> Address | None:
    """Who is to be told; None: nobody."""
    if unit.envelope.is_dsn and not any(settled.fate in _FAILURES for settled in told):
        return None
    if not unit.envelope.is_dsn:
        try:
            sender = parse_address(unit.envelope.reverse_path)
        except InvalidAddress as error:
            _log.warning("%s: no DSN: the reverse-path is %s", unit.message_id, error)
            return None
        return None if sender.is_null else sender
    postmaster = around.postmaster()
    if postmaster is None:
        _log.warning("%s: DSN dropped: it failed and there is no postmaster", unit.message_id)
        return None
    if any(settled.recipient.original == str(postmaster) for settled in told):
        _log.warning("%s: DSN dropped: it failed for the postmaster too", unit.message_id)
        return None
    return postmaster


async def _targets(
    addressee: Address, around: Surroundings, *, may_postpone: bool
) -> tuple[Target, ...]:
    if addressee.domain and not around.is_local(addressee.domain):
        return (MailTarget(addressee),)
    try:
        targets = await around.expand(addressee)
    except ExpansionFailed as error:
        if may_postpone:
            raise NotificationPostponed(str(error)) from error
        _log.warning("DSN goes to %s itself, whose aliases fail: %s", addressee, error)
        return (MailTarget(addressee),)
    return targets or (MailTarget(addressee),)


def _dsn_recipient(unit: Unit, settled: Settled, around: Surroundings) -> DsnRecipient:
    recipient: QueuedRecipient = settled.recipient
    said, diagnostic_type = recipient.detail, _words_of(unit, around)
    if settled.peer and said.startswith(opening := f"{settled.peer} said: "):
        said, diagnostic_type = said.removeprefix(opening), "smtp"
    return DsnRecipient(
        original=recipient.original,
        final="" if recipient.kind is TargetKind.PIPE else recipient.target,
        action=_action(unit, settled),
        status=recipient.status,
        diagnostic=said,
        diagnostic_type=diagnostic_type,
        is_timed_out=settled.fate is Fate.GIVEN_UP,
        orcpt=recipient.orcpt,
        remote_mta=settled.peer.partition(" ")[0],
    )


def _words_of(unit: Unit, around: Surroundings) -> str:
    """The type of a diagnostic that is no reply of a named server (RFC 3464 §2.1.1)."""
    match route_kind(unit.route):
        case kind if kind == LOCAL and around.is_local_smtp:
            return "smtp"
        case kind if kind in {LOCAL, PIPE}:
            return "x-unix"
        case _:
            return "x-relevo"


def _action(unit: Unit, settled: Settled) -> DsnAction:
    match settled.fate:
        case Fate.DELIVERED if route_kind(unit.route) in _DELIVERING:
            return DsnAction.DELIVERED
        case Fate.DELIVERED:
            return DsnAction.RELAYED
        case Fate.LATE | Fate.WAITING:
            return DsnAction.DELAYED
        case Fate.FAILED | Fate.GIVEN_UP:
            return DsnAction.FAILED
        case unreachable:
            assert_never(unreachable)


async def _beginning(unit: Unit) -> bytes:
    """What a DSN may attach, and one octet more so that a cut is seen."""
    if isinstance(unit.content, MemoryContent):
        return unit.content.first(MAX_ATTACHED + 1)
    return await asyncio.to_thread(unit.content.first, MAX_ATTACHED + 1)
