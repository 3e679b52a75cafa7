"""What the sender of a waiting message wishes, as text and as JSON values."""

from __future__ import annotations

from collections.abc import Iterator

from relevo.cli.phrases import moment, span
from relevo.queue.store import Summary


def hold_line(summary: Summary, due: float | None, attempts: int, now: float) -> Iterator[str]:
    """Of a unit that its sender wants sent later."""
    wishes = summary.envelope.wishes
    if wishes is None or not wishes.hold or attempts or due is None:
        return
    if now < summary.created + wishes.hold:
        yield f"        not sent before {moment(summary.created + wishes.hold)}: its sender's wish"


def wish_fields(summary: Summary, now: float) -> dict[str, str]:
    """Name and value of what there is to be said."""
    wishes = summary.envelope.wishes
    fields: dict[str, str] = {}
    if wishes is None:
        return fields
    if wishes.hold:
        fields["release"] = f"not sent before {moment(summary.created + wishes.hold)}"
    if wishes.deliver_by is not None:
        until = summary.created + wishes.deliver_by
        then = "then it comes back" if wishes.returns else "then its sender is told"
        left = f" (in {span(until - now)})" if until > now else ""
        fields["by"] = f"{moment(until)}{left}, {then}"
    if wishes.priority is not None:
        fields["priority"] = str(wishes.priority)
    return fields


def plain_wishes(summary: Summary) -> dict[str, object]:
    """Times in seconds since the epoch; null: not wished."""
    wishes, created = summary.envelope.wishes, summary.created
    if wishes is None:
        return {"release": None, "deliver_by": None, "returns": False, "priority": None}
    by = wishes.deliver_by
    return {
        "release": created + wishes.hold if wishes.hold else None,
        "deliver_by": None if by is None else created + by,
        "returns": wishes.returns,
        "priority": wishes.priority,
    }
