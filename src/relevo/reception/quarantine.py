"""A message that was accepted and waits for a decision, instead of being delivered.

Who wants that says so in the transaction (`SetAside`): a hook at mail, rcpt or post-data, or a
policy. What stands behind that point is done when somebody releases the message
(`relevo.reception.release`); so it is stored with its recipients as they were accepted, and with
what the hooks of post-data that were not asked yet will be told.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from relevo.hooks.contract.verdicts import NO_CHANGES, Changes
from relevo.journal import Quarantined
from relevo.queue import quarantine as kept_aside
from relevo.queue.quarantine import ROUTE, due_of
from relevo.queue.store import NewUnit, QueuedRecipient, TargetKind
from relevo.reception.post_data_context import context_of
from relevo.value import dataclass

if TYPE_CHECKING:
    from relevo.config.quarantine_model import Quarantine
    from relevo.directory import Directory
    from relevo.queue import SqliteStore
    from relevo.queue.store import NewMessage
    from relevo.reception.acceptance import Arrival
    from relevo.reception.transaction import Transaction


@dataclass(frozen=True, slots=True)
class SetAside:
    """Who wants a message in quarantine, and why.

    `passed`: the hooks of post-data that it has behind it; `changes`: what they all want of its
    recipients.
    """

    stage: str
    by: str
    reason: str
    passed: tuple[str, ...] = ()
    changes: Changes = NO_CHANGES


async def has_room(store: SqliteStore, octets: int, bounds: Quarantine) -> bool:
    """May one more message be kept? Then it is counted."""
    kept = await store.quarantined()
    if kept.messages >= bounds.max_messages or kept.octets + octets > bounds.max_size:
        return False
    store.count_quarantined(octets)
    return True


def quarantined(
    message: NewMessage, transaction: Transaction, arrival: Arrival, directory: Directory
) -> NewMessage:
    """The message as it waits."""
    aside = transaction.set_aside
    assert aside is not None
    found = kept_aside.Quarantine(
        since=arrival.time,
        stage=aside.stage,
        by=aside.by,
        reason=aside.reason,
        context=context_of(transaction, arrival, (), directory, message.content.size),
        passed=aside.passed,
        add_recipients=aside.changes.add_recipients,
        remove_recipients=aside.changes.remove_recipients,
        redirect=aside.changes.redirect,
    )
    event = Quarantined(arrival.time, message.id, aside.stage, aside.by, aside.reason)
    return replace(
        message,
        envelope=replace(message.envelope, quarantine=found),
        units=(NewUnit(ROUTE, _recipients(transaction), due_of(arrival.time)),),
        events=(*message.events, event),
    )


def _recipients(transaction: Transaction) -> tuple[QueuedRecipient, ...]:
    """As they were accepted; with a redirect, where that leads."""
    return tuple(
        QueuedRecipient(
            TargetKind.MAIL,
            str(address),
            str(recipient.address),
            notify=tuple(sorted(keyword.value for keyword in recipient.parameters.notify)),
            orcpt=recipient.parameters.orcpt or "",
        )
        for recipient in transaction.recipients
        for address in recipient.redirect or (recipient.address,)
    )
