"""Sends the TLS reports of days that are over to the domains that ask for them (RFC 8460 §3, §5).

One worker does it. A domain that wants them by mail gets a message through the queue, from the null
reverse-path; one that wants them by HTTPS a POST, tried once.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from relevo.dns import DnsFailed
from relevo.outbound.daily_reports import Reporter, queue_report, tell_of_past_days
from relevo.outbound.https_request import Request, RequestFailed, send_request
from relevo.outbound.mta_sts_lookup import FetchSettings, find_addresses
from relevo.outbound.tls_report_text import (
    MailAddress,
    WebAddress,
    of_domain,
    read_addresses,
    report_json,
    report_mail,
)
from relevo.queue.store import StoreFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from relevo.dns import DnsLookups
    from relevo.mailauth.dkim.private_key import SigningKey
    from relevo.outbound.tls_reports import Day, ReportFiles
    from relevo.queue.store import MessageId, Store

_log = logging.getLogger(__name__)

_CONTENT_TYPE: Final = "application/tlsrpt+gzip"


@dataclass(frozen=True, slots=True)
class ReportMeans:
    """What sending needs. `route` gives the route of mail to a domain.

    `keys` sign the mail (§5.3 demands it of reports that shall count).
    """

    files: ReportFiles
    lookups: Callable[[], DnsLookups]
    fetching: FetchSettings
    store: Store
    new_id: Callable[[float], MessageId]
    route: Callable[[str], str]
    keys: Sequence[SigningKey] = ()


async def send_reports(means: ReportMeans, reporter: Reporter, now: float) -> int:
    """Send those of all days before today; how many reports were sent."""
    return await tell_of_past_days(
        means.files,
        now,
        domains=lambda day: (key.domain for key in day),
        tell=lambda number, day, domain: _tell(means, reporter, number, day, domain, now),
    )


async def _tell(
    means: ReportMeans, reporter: Reporter, number: int, day: Day, domain: str, now: float
) -> int:
    """Send the report of a day to one domain, if it wants it."""
    try:
        answer = await means.lookups().txt(f"_smtp._tls.{domain}")
    except DnsFailed:
        return 0
    addresses = read_addresses(answer.records)
    if not addresses:
        return 0
    packed = report_json(number, domain, of_domain(day, domain), reporter)
    for address in addresses:
        try:
            if isinstance(address, MailAddress):
                await _mail(means, reporter, number, domain, address, packed, now)
            else:
                await _post(means, address, packed)
        except (RequestFailed, DnsFailed, StoreFailed) as error:
            _log.info("the TLS report for %s could not be sent: %s", domain, error)
            continue
        return 1
    return 0


async def _mail(
    means: ReportMeans,
    reporter: Reporter,
    number: int,
    domain: str,
    address: MailAddress,
    packed: bytes,
    now: float,
) -> None:
    """Raises StoreFailed."""
    made = datetime.fromtimestamp(now, UTC)
    text = report_mail(number, domain, address.address, packed, reporter, now=made)
    await queue_report(
        text,
        address.address,
        route=means.route(address.address.rpartition("@")[2].lower()),
        keys=means.keys,
        store=means.store,
        message_id=means.new_id(now),
        now=now,
    )


async def _post(means: ReportMeans, address: WebAddress, packed: bytes) -> None:
    """Raises RequestFailed, DnsFailed."""
    fetching = means.fetching
    addresses = await find_addresses(means.lookups(), address.host, fetching.may_connect)
    request = Request(address.host, address.path, address.port, packed, _CONTENT_TYPE)
    response = await send_request(request, addresses, fetching.context())
    if not 200 <= response.status < 300:
        raise RequestFailed(f"{address.host} answers {response.status}")
