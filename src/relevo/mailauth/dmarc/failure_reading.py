"""Failure reports of others (RFC 9991, RFC 6591): the part of a message that programs read.

What comes in was made by anybody: all that is kept is printable and bounded. Raises BadReport,
nothing else.
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime

from relevo.mailauth.dmarc.report_reading import MAX_TEXT, BadReport
from relevo.value import dataclass

FEEDBACK = "message/feedback-report"
MAX_HEADER = 8 * 1024  # characters of the reported message's header that are kept
_HEADERS = {"text/rfc822-headers", "message/rfc822", "message/rfc822-headers"}


@dataclass(frozen=True, slots=True)
class FailureReport:
    """One report on one message; `begin` is when that arrived, in seconds since the epoch."""

    organization: str
    contact: str
    report_id: str
    begin: int
    domain: str
    source_ip: str
    sender: str
    delivery: str
    alignment: str
    results: str
    header: str


def read_failure_report(message: Message) -> FailureReport | None:
    """The report that a message is; None: it is none. Raises BadReport."""
    parts = list(message.walk())
    feedback = next((part for part in parts if part.get_content_type() == FEEDBACK), None)
    if feedback is None:
        return None
    fields = _inner(feedback)
    if _text(fields, "Feedback-Type").lower() != "auth-failure":
        raise BadReport("it is a feedback report, but not about authentication")
    domain = _text(fields, "Reported-Domain").lower()
    if not domain:
        raise BadReport("it does not say which domain it is about")
    shown = next((part for part in parts if part.get_content_type() in _HEADERS), None)
    return FailureReport(
        organization=_text(fields, "Reporting-MTA").rpartition(";")[2].strip(),
        contact=_text(message, "From"),
        report_id=_text(message, "Message-ID"),
        begin=_seconds(_text(fields, "Arrival-Date") or _text(message, "Date")),
        domain=domain,
        source_ip=_text(fields, "Source-IP"),
        sender=_text(fields, "Original-Mail-From"),
        delivery=_text(fields, "Delivery-Result"),
        alignment=_text(fields, "Identity-Alignment"),
        results=_text(fields, "Authentication-Results", 4 * MAX_TEXT),
        header="" if shown is None else _header(shown),
    )


def _inner(part: Message) -> Message:
    """The fields within a part: the parser takes `message/…` for a message in a message."""
    payload = part.get_payload()
    first = payload[0] if isinstance(payload, list) and payload else None
    if not isinstance(first, Message):
        raise BadReport("its feedback has no fields")
    return first


def _text(message: Message, name: str, most: int = MAX_TEXT) -> str:
    text = " ".join(str(message.get(name, "")).split())[:most]
    return "".join(c if c.isprintable() else "?" for c in text)


def _seconds(date: str) -> int:
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise BadReport("it has no date") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        return max(0, int(moment.timestamp()))
    except (ValueError, OverflowError) as error:
        raise BadReport("it has no date") from error


def _header(part: Message) -> str:
    """The fields of the reported message: of a part that is a message, or has them as its text."""
    if part.is_multipart():
        inner = _inner(part)
        lines = [f"{name}: {_text(inner, name)}" for name in dict.fromkeys(inner.keys())]
    else:
        content = part.get_payload(decode=True)
        octets = content if isinstance(content, bytes) else b""
        lines = octets.decode("utf-8", "replace").splitlines()
    shown = ["".join(c if c.isprintable() else "?" for c in line) for line in lines]
    return "\n".join(line for line in shown if line)[:MAX_HEADER]


def arrived(report: FailureReport) -> datetime:
    """When the reported message came, at most in the year 9999."""
    return datetime.fromtimestamp(min(report.begin, 253_402_300_799), UTC)
