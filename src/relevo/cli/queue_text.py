"""Waiting messages as text and as JSON values."""

from __future__ import annotations

from collections.abc import Iterator

from relevo.cli.phrases import count, moment, octets, span
from relevo.cli.wish_text import hold_line, plain_wishes, wish_fields
from relevo.journal.escape import escape
from relevo.queue.schedule import HELD_UNTIL
from relevo.queue.store import QueuedRecipient, RecipientState, Summary


def one_line(summary: Summary, now: float) -> str:
    """Id, age, size, sender; for a list of what a command acts on."""
    age = span(now - summary.created)
    return escape(f"{summary.id}  {age:>7}  {octets(summary.size):>8}  {_sender(summary)}")


def lines(summary: Summary, now: float) -> Iterator[str]:
    """The message, and below it each recipient with its state and last error."""
    yield one_line(summary, now)
    for route, due, attempts, recipients in summary.units:
        for recipient in recipients:
            yield escape(f"    {recipient_text(recipient)}  {_state(recipient, due, now)}")
            tries = f", {count(attempts, 'attempt')}" if attempts else ""
            error = f": {recipient.detail}" if recipient.detail else ""
            yield escape(f"        by {route}{tries}{error}")
        yield from hold_line(summary, due, attempts, now)


def details(summary: Summary, now: float) -> Iterator[str]:
    """Everything about the envelope, then the recipients."""
    yield from envelope_lines(summary, now)
    yield "recipients:"
    yield from list(lines(summary, now))[1:]


def envelope_lines(summary: Summary, now: float) -> Iterator[str]:
    """Id, time, size and the envelope."""
    envelope = summary.envelope
    fields = {
        "message": summary.id,
        "sender": _sender(summary),
        "accepted": f"{moment(summary.created)} ({span(now - summary.created)} ago)",
        "size": f"{octets(summary.size)} ({summary.size})",
        "login": envelope.auth,
        "body": envelope.body,
        "smtputf8": "yes" if envelope.smtputf8 else "",
        "ret": envelope.ret,
        "envid": envelope.envid,
        "dsn": "yes" if envelope.is_dsn else "",
        **wish_fields(summary, now),
    }
    yield from (escape(f"{name + ':':<10}{value}") for name, value in fields.items() if value)


def as_plain(summary: Summary) -> dict[str, object]:
    """For JSON. Times are seconds since the epoch; `due` null: being tried now."""
    envelope = summary.envelope
    return {
        "id": summary.id,
        "created": summary.created,
        "size": summary.size,
        "sender": envelope.reverse_path,
        "login": envelope.auth,
        "body": envelope.body,
        "smtputf8": envelope.smtputf8,
        "ret": envelope.ret,
        "envid": envelope.envid,
        "is_dsn": envelope.is_dsn,
        **plain_wishes(summary),
        "units": [
            {
                "route": route,
                "due": due,
                "attempts": attempts,
                "recipients": [
                    {
                        "kind": one.kind.value,
                        "target": one.target,
                        "original": one.original,
                        "state": one.state.value,
                        "detail": one.detail,
                        "status": one.status,
                    }
                    for one in recipients
                ],
            }
            for route, due, attempts, recipients in summary.units
        ],
    }


def _sender(summary: Summary) -> str:
    return summary.envelope.reverse_path or "<>"


def recipient_text(recipient: QueuedRecipient) -> str:
    """Its target, and what that stands for."""
    if recipient.target == recipient.original:
        return recipient.target
    return f"{recipient.target} (for {recipient.original})"


def _state(recipient: QueuedRecipient, due: float | None, now: float) -> str:
    if recipient.state is not RecipientState.PENDING:
        return str(recipient.state.value)
    if due is None:
        return "being tried now"
    if due >= HELD_UNTIL:
        return "held until `relevo queue release`"
    return "due now" if due <= now else f"next try in {span(due - now)}"
