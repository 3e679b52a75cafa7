"""One worker's failure reports (RFC 9991): few, one at a time for each domain, through the queue.

Whoever forges mail of a domain decides how many reports would be due, so they are bounded in three
ways: an hour's number for each domain, one for all, and how many are under way. What is beyond that
is not reported. The addresses are looked up anew, and those in other organizations must consent in
DNS, as for aggregate reports.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from relevo.dns import DnsFailed
from relevo.mailauth.dmarc.walk import WalkFailed
from relevo.outbound.daily_reports import queue_report
from relevo.outbound.dmarc_report_sending import wanted_addresses
from relevo.outbound.failure_report_text import failure_report
from relevo.queue.store import StoreFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from relevo.mailauth.dmarc.failed import FailedMessage
    from relevo.outbound.daily_reports import Reporter
    from relevo.outbound.dmarc_report_sending import DmarcReportMeans

_log = logging.getLogger(__name__)

MAX_AN_HOUR: Final = 200  # of a worker, for all domains
MAX_UNDER_WAY: Final = 20
TIMEOUT_S: Final = 60.0
_HOUR_S: Final = 3600


class FailureReports:
    """Sends what there is room for."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._hour = 0
        self._sent: Counter[str] = Counter()  # of this hour, by domain
        self._under_way: set[asyncio.Task[int]] = set()

    def has_room(self, domain: str, most: int) -> bool:
        """Whether one more report on a domain may be sent now, of which `most` may be an hour."""
        hour = int(self._clock() // _HOUR_S)
        if hour != self._hour:
            self._hour = hour
            self._sent.clear()
        return (
            self._sent[domain] < most
            and self._sent.total() < MAX_AN_HOUR
            and len(self._under_way) < MAX_UNDER_WAY
        )

    def start(
        self, failed: FailedMessage, means: DmarcReportMeans, reporter: Reporter
    ) -> asyncio.Task[int]:
        """Send a report in the background: one that counts."""
        self._sent[failed.policy_domain] += 1
        task = asyncio.get_running_loop().create_task(self._send(failed, means, reporter))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def _send(
        self, failed: FailedMessage, means: DmarcReportMeans, reporter: Reporter
    ) -> int:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await send_failure_report(failed, means, reporter, self._clock())
        except (DnsFailed, WalkFailed, StoreFailed, TimeoutError) as error:
            _log.info("no failure report for %s: %s", failed.policy_domain, error or "too slow")
            return 0


async def send_failure_report(
    failed: FailedMessage, means: DmarcReportMeans, reporter: Reporter, now: float
) -> int:
    """Queue the report for each address that wants it; how many that are.

    Raises DnsFailed, WalkFailed, StoreFailed.
    """
    addresses = await wanted_addresses(
        failed.policy_domain, means.lookups(), of=lambda record: record.failures_to
    )
    sent = 0
    for address in addresses:
        route = means.route(address.rpartition("@")[2].lower())
        if not route:
            continue
        identity = secrets.token_hex(12)
        made = datetime.fromtimestamp(now, UTC)
        text = failure_report(failed, address, reporter, identity=identity, now=made)
        await queue_report(
            text, address, route=route, keys=means.keys, store=means.store,
            message_id=means.new_id(now), now=now,
        )  # fmt: skip
        sent += 1
    return sent
