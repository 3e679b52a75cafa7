"""What an attempt means for its unit: new states, events, and who is to be told.

Pure functions. A temporary failure of a message that is too old is final: the recipient is given
up. Addresses in events are in plain form.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, assert_never

from relevo.delivery.attempt import Attempt, Result, temporary
from relevo.journal import Attempted, Outcome
from relevo.mail import InvalidAddress, parse_address
from relevo.queue.store import QueuedRecipient, RecipientState, TargetKind
from relevo.value import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_DETAIL = 4000  # characters of a next hop's or command's text that are kept


class Fate(Enum):
    """Where a recipient stands after the attempt."""

    DELIVERED = auto()
    FAILED = auto()
    GIVEN_UP = auto()
    WAITING = auto()
    LATE = auto()  # waiting, for so long that the sender is to know


_UNFINISHED = (Fate.WAITING, Fate.LATE)  # a tuple: compared by identity, no hash is asked for


@dataclass(frozen=True, slots=True)
class Settled:
    """A recipient that was tried, in its new state."""

    recipient: QueuedRecipient
    fate: Fate
    peer: str = ""  # the server that decided
    is_passed_on: bool = False  # with what the sender wants to hear: that server tells it
    is_relay_told: bool = False  # the sender wants to hear that it was handed on


@dataclass(frozen=True, slots=True)
class Settlement:
    """A unit after an attempt."""

    recipients: tuple[QueuedRecipient, ...]  # all of the unit
    tried: tuple[Settled, ...]
    events: tuple[Attempted, ...]

    @property
    def is_finished(self) -> bool:
        return all(settled.fate not in _UNFINISHED for settled in self.tried)


def plain(address: str) -> str:
    """An address as events have it: without quoting; `<>` for the null reverse-path."""
    if not address:
        return "<>"
    if '"' not in address:
        return address
    try:
        return parse_address(address).plain
    except InvalidAddress:
        return address


def settle(
    attempt: Attempt,
    results: Sequence[Result],
    *,
    label: str,
    now: float,
    seconds: float,
    is_too_old: bool,
    is_late: bool = False,
) -> Settlement:
    """New states and events from the results of an attempt.

    `label` stands in the events as their route; `is_too_old`: temporary failures are given up;
    `is_late`: the sender is to hear, once, of what waits.
    """
    unit = attempt.unit
    recipients = list(unit.recipients)
    reverse_path = plain(unit.envelope.reverse_path)
    tried: list[Settled] = []
    events: list[Attempted] = []
    for index, result in zip(attempt.pending, results, strict=True):
        settled = _settle_one(recipients[index], result, is_too_old=is_too_old, is_late=is_late)
        recipients[index] = settled.recipient
        tried.append(settled)
        outcome, detail = result.outcome, result.detail[:_MAX_DETAIL]
        if settled.fate is Fate.GIVEN_UP:
            outcome = Outcome.PERMANENT
            detail = f"given up, the message is too old; last error: {detail}"
        events.append(
            Attempted(
                time=now,
                message_id=unit.message_id,
                reverse_path=reverse_path,
                target=_shown_target(settled.recipient),
                original=plain(settled.recipient.original),
                outcome=outcome,
                route=label,
                detail=detail,
                seconds=seconds,
                peer=result.peer,
                tls=result.tls,
            )
        )
    return Settlement(tuple(recipients), tuple(tried), tuple(events))


def postpone(attempt: Attempt, results: Sequence[Result], reason: str) -> tuple[Result, ...]:
    """The same results with permanent failures made temporary, for a sender that cannot be told."""
    assert len(results) == len(attempt.pending)
    return tuple(
        temporary(result.status, f"{result.detail} ({reason})")
        if result.outcome is Outcome.PERMANENT
        else result
        for result in results
    )


def _settle_one(
    recipient: QueuedRecipient, result: Result, *, is_too_old: bool, is_late: bool
) -> Settled:
    match result.outcome:
        case Outcome.DELIVERED:
            state, fate = RecipientState.DELIVERED, Fate.DELIVERED
        case Outcome.PERMANENT:
            state, fate = RecipientState.FAILED, Fate.FAILED
        case Outcome.TEMPORARY if is_too_old:
            state, fate = RecipientState.FAILED, Fate.GIVEN_UP
        case Outcome.TEMPORARY if is_late and not recipient.is_delay_told:
            state, fate = RecipientState.PENDING, Fate.LATE
        case Outcome.TEMPORARY:
            state, fate = RecipientState.PENDING, Fate.WAITING
        case unreachable:
            assert_never(unreachable)
    settled = QueuedRecipient(
        recipient.kind,
        recipient.target,
        recipient.original,
        recipient.servers,
        recipient.notify,
        recipient.orcpt,
        state,
        result.detail[:_MAX_DETAIL],
        result.status,
        recipient.reverse_path,
        recipient.is_delay_told or fate is Fate.LATE,
    )
    return Settled(settled, fate, result.peer, result.is_passed_on, result.is_relay_told)


def _shown_target(recipient: QueuedRecipient) -> str:
    if recipient.kind is TargetKind.PIPE:
        return recipient.target
    return plain(recipient.target)
