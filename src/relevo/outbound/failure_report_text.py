"""A failure report as mail: text for people, fields for programs, a part of the header.

RFC 9991 §4, RFC 6591 (the fields of authentication failures), RFC 5965 (multipart/report with a
feedback report).
"""

from __future__ import annotations

import textwrap
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING

from relevo import __version__
from relevo.mailauth.dmarc import Policy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relevo.mailauth.dmarc.failed import FailedMessage
    from relevo.outbound.daily_reports import Reporter

_LINE = 900  # octets of a line, below the 998 of RFC 5322
_DELIVERY = {Policy.NONE: "delivered", Policy.QUARANTINE: "policy", Policy.REJECT: "reject"}


def failure_report(
    failed: FailedMessage, recipient: str, reporter: Reporter, *, identity: str, now: datetime
) -> bytes:
    """The message, to one address. CRLF lines, ASCII."""
    boundary = f"failure-{identity}"
    lines = [
        f"From: <{reporter.contact}>",
        f"To: <{recipient}>",
        f"Date: {format_datetime(now)}",
        f"Message-ID: <dmarc-failure-{identity}@{reporter.domain}>",
        f"Subject: FW: DMARC failure of {failed.author_domain}",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        "Content-Type: multipart/report; report-type=feedback-report;",
        f'\tboundary="{boundary}"',
        "",
        f"--{boundary}",
        "Content-Type: text/plain; charset=us-ascii",
        "",
        f"{reporter.domain} got a message that claims to be of {failed.author_domain}",
        f"from {failed.source_ip}. The record of {failed.policy_domain} asks to be told of such.",
        "Below is what was found, and a part of its header.",
        "",
        f"--{boundary}",
        "Content-Type: message/feedback-report",
        "",
        *(_cut(line) for line in _fields(failed, reporter)),
        "",
        f"--{boundary}",
        "Content-Type: text/rfc822-headers; charset=us-ascii",
        "",
        failed.fields.decode("ascii"),
        f"--{boundary}--",
        "",
    ]
    return "\r\n".join(lines).encode("ascii", "replace")


def _fields(failed: FailedMessage, reporter: Reporter) -> Iterator[str]:
    yield "Feedback-Type: auth-failure"
    yield f"User-Agent: relevo/{__version__}"
    yield "Version: 1"
    yield "Auth-Failure: dmarc"
    yield f"Authentication-Results: {failed.results}"
    yield f"Reported-Domain: {failed.author_domain}"
    yield f"Reporting-MTA: dns; {reporter.domain}"
    yield f"Arrival-Date: {format_datetime(datetime.fromtimestamp(failed.time, UTC))}"
    yield f"Source-IP: {failed.source_ip}"
    if failed.sender_domain:
        yield f"Original-Mail-From: redacted@{failed.sender_domain}"
    yield f"Delivery-Result: {_DELIVERY[failed.handling]}"
    aligned = [
        name
        for name, holds in (("dkim", failed.has_aligned_dkim), ("spf", failed.has_aligned_spf))
        if holds
    ]
    yield f"Identity-Alignment: {', '.join(aligned) or 'none'}"
    if failed.signatures:  # each of these fields may stand once
        first = failed.signatures[0]
        yield f"DKIM-Domain: {first.domain}"
        yield f"DKIM-Selector: {first.selector}"
        yield f"DKIM-Identity: @{first.identity.rpartition('@')[2]}"
    if failed.spf is not None:
        yield f"SPF-DNS: txt : {failed.spf.domain}"


def _cut(line: str) -> str:
    """A field on lines that mail can carry."""
    if len(line) <= _LINE:
        return line
    return "\r\n ".join(textwrap.wrap(line, _LINE, break_long_words=True))
