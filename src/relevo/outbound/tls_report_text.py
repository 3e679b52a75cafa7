"""A day's report to one domain: the JSON of RFC 8460 §4.4, and the mail that carries it (§3).

Also the record that asks for reports: TXT of `_smtp._tls.DOMAIN` (§3).
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from relevo.outbound.daily_reports import DAY_S, Reporter, letter
from relevo.outbound.tls_reports import Day, PolicyKey, Tally

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_ADDRESSES: Final = 2  # where a report is sent, of each domain
_VERSION: Final = re.compile(rb"v=TLSRPTv1[ \t]*;")
_MAILTO: Final = re.compile(r"mailto:([!-9;-?A-~]+@[A-Za-z0-9._-]+)")  # no "," "!" within
_HTTPS: Final = re.compile(r"https://([a-z0-9.-]+)(?::([0-9]{1,5}))?(/[!-~]*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class MailAddress:
    """`rua=mailto:`."""

    address: str


@dataclass(frozen=True, slots=True)
class WebAddress:
    """`rua=https:`."""

    host: str
    port: int
    path: str


def read_addresses(records: Iterable[bytes]) -> list[MailAddress | WebAddress]:
    """Where a domain wants its reports; nothing where it wants none."""
    ours = [record for record in records if _VERSION.match(record)]
    if len(ours) != 1:
        return []
    found: list[MailAddress | WebAddress] = []
    for part in ours[0].decode("ascii", "replace").split(";")[1:]:
        name, _, value = part.partition("=")
        if name.strip() != "rua":
            continue
        for uri in value.split(","):
            address = _address(uri.strip())
            if address is not None:
                found.append(address)
    return found[:MAX_ADDRESSES]


def _address(uri: str) -> MailAddress | WebAddress | None:
    if mail := _MAILTO.fullmatch(uri):
        return MailAddress(mail[1])
    web = _HTTPS.fullmatch(uri)
    if web is None or not 0 < int(web[2] or 443) < 65536:
        return None
    return WebAddress(web[1].lower(), int(web[2] or 443), web[3] or "/")


def of_domain(day: Day, domain: str) -> Day:
    """What of a day is about a domain."""
    return {key: tally for key, tally in day.items() if key.domain == domain}


def report_id(number: int, domain: str, reporter: Reporter) -> str:
    """The same for each try to send the report of a day."""
    return f"{_date(number):%Y-%m-%d}-{domain}@{reporter.domain}"


def report_json(number: int, domain: str, day: Day, reporter: Reporter) -> bytes:
    """The report about `domain`, compressed by gzip."""
    start = _date(number)
    value = {
        "organization-name": reporter.organization,
        "date-range": {
            "start-datetime": f"{start:%Y-%m-%dT%H:%M:%SZ}",
            "end-datetime": f"{start:%Y-%m-%d}T23:59:59Z",
        },
        "contact-info": reporter.contact,
        "report-id": report_id(number, domain, reporter),
        "policies": [_policy(*item) for item in of_domain(day, domain).items()],
    }
    return gzip.compress(json.dumps(value, indent=1).encode(), mtime=0)


def _policy(key: PolicyKey, tally: Tally) -> dict[str, Any]:
    policy: dict[str, Any] = {"policy-type": key.kind, "policy-domain": key.domain}
    if key.lines:
        policy["policy-string"] = list(key.lines)
    if key.hosts:
        policy["mx-host"] = list(key.hosts)
    entry: dict[str, Any] = {
        "policy": policy,
        "summary": {
            "total-successful-session-count": tally.successes,
            "total-failure-session-count": tally.failed,
        },
    }
    if tally.failures:
        entry["failure-details"] = [
            {
                "result-type": failure.result,
                **({"receiving-mx-hostname": failure.host} if failure.host else {}),
                **({"receiving-ip": failure.address} if failure.address else {}),
                "failed-session-count": count,
            }
            for failure, count in tally.failures.items()
        ]
    return entry


def report_mail(
    number: int, domain: str, recipient: str, packed: bytes, reporter: Reporter, *, now: datetime
) -> bytes:
    """The message that carries a report (§5.3). CRLF lines, ASCII."""
    start = int(_date(number).timestamp())
    name = f"{reporter.domain}!{domain}!{start}!{start + DAY_S - 1}!001.json.gz"
    boundary = f"report-{number}-{base64.b16encode(domain.encode())[:40].decode()}"
    identity = report_id(number, domain, reporter)
    fields = [
        f"From: <{reporter.contact}>",
        f"To: <{recipient}>",
        f"Date: {now:%a, %d %b %Y %H:%M:%S} +0000",
        f"Message-ID: <tls-report-{number}-{identity}>",
        f"Subject: Report Domain: {domain}",
        f"\tSubmitter: {reporter.domain}",
        f"\tReport-ID: <{identity}>",
        f"TLS-Report-Domain: {domain}",
        f"TLS-Report-Submitter: {reporter.domain}",
    ]
    about = [
        f"How TLS from {reporter.domain} to the mail servers of {domain} went on",
        f"{_date(number):%Y-%m-%d} (UTC), as RFC 8460 has it.",
    ]
    return letter(
        fields, about, packed, multipart='multipart/report; report-type="tlsrpt"',
        boundary=boundary, content_type="application/tlsrpt+gzip", name=name,
    )  # fmt: skip


def _date(number: int) -> datetime:
    return datetime.fromtimestamp(number * DAY_S, UTC)
