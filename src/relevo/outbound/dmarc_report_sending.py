"""Sends the DMARC reports of days that are over to the domains that ask for them (RFC 9990).

One worker does it; each report is a message through the queue, from the null reverse-path, signed
as the reporter's domain. An address in another organization than the domain's gets it only when
that organization's DNS says that it wants such reports (§4.2).
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from relevo.dns import DnsFailed
from relevo.mail import InvalidAddress, domain_to_ascii, normalize_domain
from relevo.mailauth.dmarc import DmarcRecord, select_record
from relevo.mailauth.dmarc.walk import TreeWalk, WalkFailed
from relevo.outbound.daily_reports import Reporter, queue_report, tell_of_past_days
from relevo.outbound.dmarc_report_text import (
    policies,
    report_id,
    report_mail,
    report_xml,
)
from relevo.queue.store import StoreFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from relevo.dns import DnsLookups
    from relevo.mailauth.dkim.private_key import SigningKey
    from relevo.outbound.dmarc_reports import DmarcDay, DmarcFiles
    from relevo.queue.store import MessageId, Store

_log = logging.getLogger(__name__)

MAX_ADDRESSES: Final = 5  # of a domain


@dataclass(frozen=True, slots=True)
class DmarcReportMeans:
    """What sending needs. `route` gives the route of mail to a domain, "" for one of ours.

    `keys` sign the mail.
    """

    files: DmarcFiles
    lookups: Callable[[], DnsLookups]
    store: Store
    new_id: Callable[[float], MessageId]
    route: Callable[[str], str]
    keys: Sequence[SigningKey] = ()


async def send_dmarc_reports(means: DmarcReportMeans, reporter: Reporter, now: float) -> int:
    """Send those of all days before today; how many reports were sent."""
    return await tell_of_past_days(
        means.files,
        now,
        domains=lambda day: day.rows,
        tell=lambda number, day, domain: _tell(means, reporter, number, day, domain, now),
    )


async def _tell(
    means: DmarcReportMeans,
    reporter: Reporter,
    number: int,
    day: DmarcDay,
    domain: str,
    now: float,
) -> int:
    """Send the reports of a day to one domain, if it still wants them."""
    try:
        addresses = await wanted_addresses(domain, means.lookups())
    except (DnsFailed, WalkFailed) as error:
        _log.info("the DMARC report for %s could not be sent: %s", domain, error)
        return 0
    sent = 0
    for index, rows in enumerate(policies(day.rows[domain]).values()):
        identity = report_id(number, f"{index}.{domain}" if index else domain, reporter)
        packed = await asyncio.to_thread(
            report_xml, number, rows, reporter, identity=identity,
            left_out=day.left_out[domain],
        )  # fmt: skip
        for address in addresses:
            try:
                await _mail(means, reporter, number, domain, address, packed, identity, now)
            except StoreFailed as error:
                _log.info("the DMARC report for %s could not be queued: %s", domain, error)
                continue
            sent += 1
    return sent


def _aggregate_addresses(record: DmarcRecord) -> tuple[str, ...]:
    return record.reports_to


async def wanted_addresses(
    domain: str,
    lookups: DnsLookups,
    *,
    of: Callable[[DmarcRecord], tuple[str, ...]] = _aggregate_addresses,
) -> list[str]:
    """Where the reports for a domain go now; `of` gives the addresses that a record has for them.

    Raises DnsFailed, WalkFailed.
    """
    record = select_record((await lookups.txt(f"_dmarc.{domain}")).records)
    if record is None:
        return []
    owner = await TreeWalk(domain, lookups).organizational_domain()
    wanted: dict[str, None] = {}
    for address in of(record)[:MAX_ADDRESSES]:
        try:
            target = domain_to_ascii(normalize_domain(address.rpartition("@")[2]))
        except InvalidAddress:
            continue
        if await TreeWalk(target, lookups).organizational_domain() == owner:
            wanted[address] = None
            continue
        permit = await _permit(domain, target, lookups)
        if permit is not None:
            wanted |= dict.fromkeys(_instead(of(permit), target) or [address])
    return list(wanted)[:MAX_ADDRESSES]


async def _permit(domain: str, target: str, lookups: DnsLookups) -> DmarcRecord | None:
    """The record by which another organization says that it takes reports on a domain (§4.2)."""
    answer = await lookups.txt(f"{domain}._report._dmarc.{target}")
    return select_record(answer.records)


def _instead(addresses: Iterable[str], target: str) -> list[str]:
    """The addresses that the other organization wants instead; at the same host only."""
    return [address for address in addresses if address.rpartition("@")[2].lower() == target]


async def _mail(
    means: DmarcReportMeans,
    reporter: Reporter,
    number: int,
    domain: str,
    address: str,
    packed: bytes,
    identity: str,
    now: float,
) -> None:
    """Raises StoreFailed."""
    route = means.route(address.rpartition("@")[2].lower())
    if not route:
        return
    made = datetime.fromtimestamp(now, UTC)
    text = report_mail(number, domain, (address,), packed, reporter, identity=identity, now=made)
    await queue_report(
        text, address, route=route, keys=means.keys, store=means.store,
        message_id=means.new_id(now), now=now,
    )  # fmt: skip
