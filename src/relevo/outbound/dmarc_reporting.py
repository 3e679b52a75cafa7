"""One worker's part in DMARC reports: it counts; one of the workers sends, once a day."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import TYPE_CHECKING, Final

from relevo.delivery.route_rules import route_table
from relevo.outbound.daily_reports import Reporter, is_time
from relevo.outbound.dmarc_report_sending import DmarcReportMeans, send_dmarc_reports
from relevo.outbound.dmarc_reports import DmarcCounts, DmarcFiles
from relevo.outbound.failure_reporting import FailureReports

if TYPE_CHECKING:
    from collections.abc import Callable

    from relevo.config import Config
    from relevo.directory import Directory
    from relevo.mailauth.dmarc.failed import FailedMessage
    from relevo.mailauth.dmarc.judged import JudgedMessage
    from relevo.outbound.protection import ProtectionSurroundings

_log = logging.getLogger(__name__)

WRITE_S: Final = 60.0
REPORT_S: Final = 600.0  # how often it is looked whether a day is over


class DmarcReporting:
    """Counts what is judged; `run` writes and sends."""

    def __init__(
        self, config: Config, around: ProtectionSurroundings, directory: Callable[[], Directory]
    ) -> None:
        """`directory` tells domains of ours, which get no reports."""
        self._config = config
        self._directory = directory
        self._around = around
        self._counts = DmarcCounts()
        self._files = DmarcFiles(config.data_dir, around.name)
        self._failures = FailureReports()

    def use(self, config: Config) -> None:
        """From now on."""
        self._config = config

    def add(self, message: JudgedMessage) -> None:
        """Count a message."""
        if self._config.dmarc.reports:
            self._counts.add(message)

    def add_failure(self, failed: FailedMessage) -> None:
        """Tell the author's domain of a message now, if there is room for that."""
        config = self._config
        if self._failures.has_room(failed.policy_domain, config.dmarc.failure_reports_an_hour):
            reporter = self._reporter()
            task = self._failures.start(failed, self._means(reporter), reporter)
            task.add_done_callback(lambda _task: self._around.wake())

    async def run(self) -> None:
        """Until cancelled."""
        wait_s = min(REPORT_S, self._config.dmarc.report_delay.total_seconds())
        report_at = time.monotonic() + random.uniform(0, wait_s)
        while True:
            await self.write()
            if self._around.is_reporter and time.monotonic() >= report_at:
                report_at = time.monotonic() + REPORT_S
                await self.report(time.time())
            await asyncio.sleep(WRITE_S)

    async def write(self) -> None:
        """What was counted goes to disk; also called when the worker ends."""
        changed = self._counts.take_changed()
        if changed:
            await asyncio.to_thread(self._files.save, changed)

    async def report(self, now: float) -> int:
        """Send what is due; how many reports were sent."""
        config = self._config
        most_s = config.dmarc.report_delay.total_seconds()
        if not config.dmarc.reports or not is_time(now, f"dmarc {config.hostname}", most_s):
            return 0
        reporter = self._reporter()
        sent = await send_dmarc_reports(self._means(reporter), reporter, now)
        if sent:
            _log.info("%d DMARC reports sent", sent)
            self._around.wake()
        return sent

    def _reporter(self) -> Reporter:
        return Reporter.with_contact(self._config.dmarc.report_contact, self._config)

    def _means(self, reporter: Reporter) -> DmarcReportMeans:
        around = self._around
        route_of = route_table(self._config).for_sender("")
        return DmarcReportMeans(
            files=self._files,
            lookups=around.lookups,
            store=around.store,
            new_id=around.new_id,
            route=lambda domain: "" if self._directory().is_local(domain) else route_of(domain),
            keys=around.keys_of(reporter.domain) if self._config.dkim.sign else (),
        )
