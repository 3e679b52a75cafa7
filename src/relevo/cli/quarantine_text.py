"""Messages in quarantine as text and as JSON values."""

from __future__ import annotations

from collections.abc import Iterator

from relevo.cli import queue_text
from relevo.cli.phrases import moment, span
from relevo.journal.escape import escape
from relevo.queue.quarantine import Quarantine
from relevo.queue.schedule import HELD_UNTIL
from relevo.queue.store import QueuedRecipient, Summary


def lines(summary: Summary, now: float) -> Iterator[str]:
    """The message, below it why it is there and each recipient."""
    found = _why(summary)
    yield queue_text.one_line(summary, now)
    yield escape(f"    by {found.by} at {found.stage}: {found.reason}")
    for each in _recipients(summary):
        yield escape(f"    {queue_text.recipient_text(each)}")
    state = _state(summary, now)
    if state:
        yield escape(f"    {state}")


def details(summary: Summary, now: float) -> Iterator[str]:
    """Everything about the envelope, then why it is there, then the recipients."""
    found = _why(summary)
    yield from queue_text.envelope_lines(summary, now)
    yield f"there:    since {moment(found.since)} ({span(now - found.since)})"
    yield escape(f"by:       {found.by}, at {found.stage}")
    yield escape(f"reason:   {found.reason}")
    if summary.envelope.tags:
        yield escape(f"tags:     {', '.join(summary.envelope.tags)}")
    if found.passed:
        yield escape(f"hooks:    has behind it {', '.join(found.passed)}")
    for what, addresses in (
        ("adds", found.add_recipients),
        ("removes", found.remove_recipients),
        ("redirects to", found.redirect),
    ):
        if addresses:
            yield escape(f"released: {what} {', '.join(addresses)}")
    yield f"state:    {_state(summary, now) or 'waits for `relevo quarantine release` or `drop`'}"
    yield "recipients:"
    for each in _recipients(summary):
        yield escape(f"    {queue_text.recipient_text(each)}")


def as_plain(summary: Summary) -> dict[str, object]:
    """For JSON. Times are seconds since the epoch; `released` says that the server is at it."""
    found = _why(summary)
    envelope = summary.envelope
    return {
        "id": summary.id,
        "created": summary.created,
        "since": found.since,
        "size": summary.size,
        "sender": envelope.reverse_path,
        "login": envelope.auth,
        "recipients": [each.target for each in _recipients(summary)],
        "stage": found.stage,
        "by": found.by,
        "reason": found.reason,
        "tags": list(envelope.tags),
        "passed": list(found.passed),
        "released": not _is_waiting(summary),
        "detail": _detail(summary),
    }


def _why(summary: Summary) -> Quarantine:
    found = summary.envelope.quarantine
    assert found is not None
    return found


def _recipients(summary: Summary) -> tuple[QueuedRecipient, ...]:
    return tuple(each for _, _, _, recipients in summary.units for each in recipients)


def _is_waiting(summary: Summary) -> bool:
    return all(due is not None and due >= HELD_UNTIL for _, due, _, _ in summary.units)


def _detail(summary: Summary) -> str:
    return next((each.detail for each in _recipients(summary) if each.detail), "")


def _state(summary: Summary, now: float) -> str:
    """What is said of one that was released and is still here."""
    if _is_waiting(summary):
        return ""
    detail = f": {_detail(summary)}" if _detail(summary) else ""
    due = next((due for _, due, _, _ in summary.units), None)
    if due is None:
        return f"being released now{detail}"
    when = "now" if due <= now else f"in {span(due - now)}"
    return f"released, goes on {when}{detail}"
