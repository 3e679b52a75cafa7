"""Sends the TLS reports of days that are over to the domains that ask for them (RFC 8460 §3, §5).

One worker does it. A domain that wants them by mail gets a message through the queue, from the null
reverse-path; one that wants them by HTTPS a POST, tried once. A day's counts go when all were
told, so that a crash in between may repeat a report (its id stays the same) and loses none.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from relevo.dns import DnsFailed
from relevo.journal import Accepted
from relevo.mailauth.dkim.signing import sign_message
from relevo.outbound.https_request import Request, RequestFailed, send_request
from relevo.outbound.mta_sts_lookup import FetchSettings, find_addresses
from relevo.outbound.tls_report_text import (
    MailAddress,
    Reporter,
    WebAddress,
    of_domain,
    read_addresses,
    report_json,
    report_mail,
)
from relevo.outbound.tls_reports import DAY_S, Day, ReportFiles
from relevo.queue.store import (
    Envelope,
    MemoryContent,
    NewMessage,
    NewUnit,
    QueuedRecipient,
    StoreFailed,
    TargetKind,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from relevo.dns import DnsLookups
    from relevo.mailauth.dkim.private_key import SigningKey
    from relevo.queue.store import MessageId, Store

_log = logging.getLogger(__name__)

_AT_ONCE: Final = 8
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
    today = int(now // DAY_S)
    sent = 0
    for number in await asyncio.to_thread(means.files.days):
        if number >= today:
            continue
        day = await asyncio.to_thread(means.files.load, number)
        slots = asyncio.Semaphore(_AT_ONCE)
        domains = sorted({key.domain for key in day})
        told = await asyncio.gather(
            *(_tell(means, reporter, number, day, domain, now, slots) for domain in domains)
        )
        sent += sum(told)
        await asyncio.to_thread(means.files.forget, number)
    return sent


async def _tell(
    means: ReportMeans,
    reporter: Reporter,
    number: int,
    day: Day,
    domain: str,
    now: float,
    slots: asyncio.Semaphore,
) -> int:
    """Send the report of a day to one domain, if it wants it."""
    async with slots:
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
    if means.keys:
        text = await asyncio.to_thread(sign_message, text, means.keys, now=now) + text
    content = MemoryContent(text)
    recipient = QueuedRecipient(TargetKind.MAIL, address.address, address.address)
    identity = means.new_id(now)
    told = Accepted(
        time=now,
        message_id=identity,
        client="",
        reverse_path="<>",
        forward_paths=(address.address,),
        size=content.size,
    )
    route = means.route(address.address.rpartition("@")[2].lower())
    units = (NewUnit(route, (recipient,), now),)
    # not is_dsn: a report that fails is told to nobody, since its reverse-path is null
    message = NewMessage(identity, now, Envelope(""), content, units, (told,))
    await means.store.add(message, lease=False)


async def _post(means: ReportMeans, address: WebAddress, packed: bytes) -> None:
    """Raises RequestFailed, DnsFailed."""
    fetching = means.fetching
    addresses = await find_addresses(means.lookups(), address.host, fetching.may_connect)
    request = Request(address.host, address.path, address.port, packed, _CONTENT_TYPE)
    response = await send_request(request, addresses, fetching.context())
    if not 200 <= response.status < 300:
        raise RequestFailed(f"{address.host} answers {response.status}")
