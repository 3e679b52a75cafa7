"""Aggregate reports as XML and as mail (RFC 9990 §3, §4)."""

from __future__ import annotations

import base64
import gzip
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from xml.sax.saxutils import escape

from relevo import __version__
from relevo.mailauth.dmarc.judged import JudgedMessage, PublishedPolicy
from relevo.outbound.daily_reports import DAY_S, Reporter, letter

NAMESPACE = "urn:ietf:params:xml:ns:dmarc-2.0"

# what XML 1.0 cannot hold, and line ends
_UNFIT = re.compile("[^\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def report_id(number: int, domain: str, reporter: Reporter) -> str:
    """The same for every try, and no other's."""
    return f"{number}.{domain}@{reporter.domain}"


def policies(rows: Mapping[JudgedMessage, int]) -> dict[PublishedPolicy, Counter[JudgedMessage]]:
    """A report is about one policy: where a domain changed it within the day, there are several."""
    found: dict[PublishedPolicy, Counter[JudgedMessage]] = {}
    for message, count in rows.items():
        found.setdefault(message.policy, Counter())[message] += count
    return found


def report_xml(
    number: int,
    rows: Mapping[JudgedMessage, int],
    reporter: Reporter,
    *,
    identity: str,
    left_out: int = 0,
) -> bytes:
    """The report on a day for the rows of one policy, packed with gzip."""
    policy = next(iter(rows)).policy
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<feedback xmlns="{NAMESPACE}">',
        *_elements(("version", "1.0")),
        "<report_metadata>",
        *_elements(
            ("org_name", reporter.organization),
            ("email", reporter.contact),
            ("report_id", identity),
        ),
        "<date_range>",
        *_elements(("begin", str(number * DAY_S)), ("end", str(number * DAY_S + DAY_S - 1))),
        "</date_range>",
    ]
    if left_out:
        lines += _elements(("error", f"{left_out} messages are left out: too many kinds of them"))
    lines += [*_elements(("generator", f"relevo {__version__}")), "</report_metadata>"]
    lines += _policy_lines(policy)
    for message, count in rows.items():
        lines += _record_lines(message, count)
    lines += ["</feedback>", ""]
    return gzip.compress("\n".join(lines).encode(), mtime=0)


def _policy_lines(policy: PublishedPolicy) -> list[str]:
    return [
        "<policy_published>",
        *_elements(
            ("domain", policy.domain),
            ("discovery_method", policy.discovery),
            ("p", policy.p),
            ("sp", policy.sp),
            ("np", policy.np),
            ("fo", policy.fo),
            ("adkim", policy.adkim),
            ("aspf", policy.aspf),
            ("testing", policy.testing),
        ),
        "</policy_published>",
    ]


def _record_lines(message: JudgedMessage, count: int) -> list[str]:
    lines = [
        "<record>",
        "<row>",
        *_elements(("source_ip", message.source_ip), ("count", str(count))),
        "<policy_evaluated>",
        *_elements(
            ("disposition", message.disposition), ("dkim", message.dkim), ("spf", message.spf)
        ),
    ]
    if message.override:
        lines += ["<reason>", *_elements(("type", message.override)), "</reason>"]
    lines += [
        "</policy_evaluated>",
        "</row>",
        "<identifiers>",
        *_elements(("header_from", message.header_from), ("envelope_from", message.envelope_from)),
        "</identifiers>",
        "<auth_results>",
    ]
    for domain, selector, result in message.signatures:
        lines += [
            "<dkim>",
            *_elements(("domain", domain), ("selector", selector), ("result", result)),
            "</dkim>",
        ]
    if message.spf_result:
        lines += [
            "<spf>",
            *_elements(
                ("domain", message.spf_domain), ("scope", "mfrom"), ("result", message.spf_result)
            ),
            "</spf>",
        ]
    return [*lines, "</auth_results>", "</record>"]


def _elements(*values: tuple[str, str]) -> Iterator[str]:
    """An element a line; empty ones are left out."""
    for name, value in values:
        if value:
            yield f"<{name}>{escape(_UNFIT.sub('?', value))}</{name}>"


def report_mail(
    number: int,
    domain: str,
    recipients: Iterable[str],
    packed: bytes,
    reporter: Reporter,
    *,
    identity: str,
    now: datetime,
) -> bytes:
    """The message that carries a report (§4.1). CRLF lines, ASCII."""
    start = number * DAY_S
    name = f"{reporter.domain}!{domain}!{start}!{start + DAY_S - 1}.xml.gz"
    boundary = f"report-{number}-{base64.b16encode(identity.encode())[:40].decode()}"
    day = datetime.fromtimestamp(start, UTC)
    fields = [
        f"From: <{reporter.contact}>",
        "To: " + ",\r\n\t".join(f"<{recipient}>" for recipient in recipients),
        f"Date: {now:%a, %d %b %Y %H:%M:%S} +0000",
        f"Message-ID: <dmarc-report-{identity}>",
        f"Subject: Report Domain: {domain}",
        f"\tSubmitter: {reporter.domain}",
        f"\tReport-ID: <{identity}>",
    ]
    about = [
        f"What {reporter.domain} found about mail that claims to be of {domain}",
        f"on {day:%Y-%m-%d} (UTC), as RFC 9990 has it.",
    ]
    return letter(
        fields, about, packed, multipart="multipart/mixed", boundary=boundary,
        content_type="application/gzip", name=name,
    )  # fmt: skip
