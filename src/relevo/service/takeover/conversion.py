"""A queue item of chasquid as messages of relevo's queue.

Recipients that wait become units, due at once. Of those that failed for good chasquid tells the
sender only when nothing waits any more; here that is done now, by the DSN that relevo sends.
Delivered ones are left out. Ids are derived from chasquid's, so that an item that is converted
twice is the same message.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from relevo.delivery.bounce import Notification, Surroundings, notify
from relevo.delivery.routing import ExpandedTarget, plan_units
from relevo.delivery.settlement import Fate, Settled
from relevo.directory import MailTarget, PipeTarget, ViaTarget
from relevo.journal import Accepted, OperatorAction
from relevo.mail import InvalidAddress, parse_address
from relevo.queue.ids import derived_id
from relevo.queue.loading import SavedMessage, SavedUnit
from relevo.queue.store import (
    Envelope,
    MemoryContent,
    MessageId,
    NewMessage,
    NewUnit,
    QueuedRecipient,
    RecipientState,
    TargetKind,
    Unit,
)
from relevo.service.takeover.formats import ItemRecipient, RecipientType, Status, Unreadable

if TYPE_CHECKING:
    from relevo.config import Config
    from relevo.directory import Directory, Target
    from relevo.journal import Event
    from relevo.mail import Address
    from relevo.service.takeover.formats import Item

_BARE = re.compile(rb"(?<!\r)\n|\r(?!\n)")
_HEADER_END = b"\r\n\r\n"
_TYPES = {
    TargetKind.MAIL: RecipientType.EMAIL,
    TargetKind.PIPE: RecipientType.PIPE,
    TargetKind.VIA: RecipientType.FORWARD,
}
_FAILED = "5.0.0"  # chasquid keeps no enhanced status code


@dataclass(frozen=True, slots=True)
class Site:
    """What decides where mail goes."""

    config: Config
    directory: Directory


@dataclass(frozen=True, slots=True)
class Converted:
    """What an item becomes: the message if anything waits, and DSNs for what has failed."""

    waiting: int  # recipients
    messages: tuple[SavedMessage, ...]


def convert(item: Item, site: Site, *, now: float) -> Converted:
    """Raises Unreadable when an address of the item is none."""
    try:
        return _convert(item, site, now)
    except InvalidAddress as error:
        raise Unreadable(f"item {item.id}: {error}") from error


def _convert(item: Item, site: Site, now: float) -> Converted:
    identity = derived_id(item.created, item.id.encode())
    content = MemoryContent(_BARE.sub(b"\r\n", item.data))
    envelope = _envelope(item, content.data)
    waiting = _units(item, Status.PENDING, site, now)
    messages = []
    if waiting:
        plain = envelope.reverse_path or "<>"
        forward_paths = tuple(item.forward_paths)
        accepted = Accepted(item.created, identity, "", plain, forward_paths, content.size)
        taken = OperatorAction(now, identity, f"taken over from chasquid, where it was {item.id}")
        new = NewMessage(identity, item.created, envelope, content, waiting, (accepted, taken))
        messages.append(_saved(new))
    for number, failed in enumerate(_units(item, Status.FAILED, site, now)):
        dsn_id = derived_id(item.created, f"dsn {number} of {item.id}".encode())
        unit = Unit(
            identity, failed.route, number, item.created, 1, envelope, failed.recipients, content
        )
        notification = _tell(unit, site, dsn_id, now)
        if notification is not None:
            messages.append(_saved(notification.dsn, notification.event))
    return Converted(sum(len(unit.recipients) for unit in waiting), tuple(messages))


def _envelope(item: Item, data: bytes) -> Envelope:
    reverse_path = "" if item.reverse_path == "<>" else str(parse_address(item.reverse_path))
    paths = (reverse_path, *(recipient.address for recipient in item.recipients))
    header = data[: data.find(_HEADER_END)]
    return Envelope(
        reverse_path,
        body="" if data.isascii() else "8BITMIME",
        smtputf8=not (header.isascii() and all(path.isascii() for path in paths)),
    )


def _units(item: Item, status: Status, site: Site, now: float) -> tuple[NewUnit, ...]:
    """The recipients of a status, grouped by route, with the last errors they had."""
    chosen = [recipient for recipient in item.recipients if recipient.status is status]
    planned = plan_units(
        [ExpandedTarget(_target(one), _original(one, item)) for one in chosen],
        is_local=site.directory.is_local,
        now=now,
    )
    errors = {(one.type, one.address): one.last_failure_message for one in chosen}
    is_failed = status is Status.FAILED

    def with_error(recipient: QueuedRecipient) -> QueuedRecipient:
        return replace(
            recipient,
            detail=errors.get((_TYPES[recipient.kind], recipient.target), ""),
            state=RecipientState.FAILED if is_failed else RecipientState.PENDING,
            status=_FAILED if is_failed else "",
        )

    return tuple(
        replace(unit, recipients=tuple(map(with_error, unit.recipients))) for unit in planned
    )


def _target(recipient: ItemRecipient) -> Target:
    """Raises InvalidAddress."""
    match recipient.type:
        case RecipientType.PIPE:
            return PipeTarget(tuple(recipient.address.split()))
        case RecipientType.FORWARD:
            return ViaTarget(_address(recipient.address), tuple(recipient.via))
        case RecipientType.EMAIL:
            return MailTarget(_address(recipient.address))


def _original(recipient: ItemRecipient, item: Item) -> Address:
    """The forward-path it came from. Raises InvalidAddress."""
    return _address(recipient.original_address or next(iter(item.forward_paths), ""))


def _address(text: str) -> Address:
    address = parse_address(text)
    if address.is_null:
        raise InvalidAddress("a recipient has no address")
    return address


def _tell(unit: Unit, site: Site, dsn_id: MessageId, now: float) -> Notification | None:
    """The DSN about recipients that failed; None when nobody is to be told."""

    async def expand(address: Address) -> tuple[Target, ...]:
        return await site.directory.expand(address)

    around = Surroundings(
        hostname=site.config.hostname,
        is_local=site.directory.is_local,
        expand=expand,
        postmaster=site.directory.postmaster,
        new_id=lambda _now: dsn_id,
    )
    settled = [Settled(recipient, Fate.FAILED) for recipient in unit.recipients]
    return asyncio.run(notify(unit, settled, around, now=now, may_postpone=False))


def _saved(message: NewMessage, *events: Event) -> SavedMessage:
    return SavedMessage(
        id=message.id,
        created=message.created,
        size=message.content.size,
        envelope=message.envelope,
        units=tuple(SavedUnit(unit.route, unit.due, 0, unit.recipients) for unit in message.units),
        content=message.content,
        events=(*message.events, *events),
    )
