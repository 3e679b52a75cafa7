"""TLS with other servers as one worker has it: contexts, policies, and what is reported of it.

Follows the configuration (`use`). `run` writes down what was counted and, in the worker that
reports for all, sends reports and forgets what is over.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import TYPE_CHECKING, Final, Protocol

from relevo.outbound.daily_reports import Reporter, is_time
from relevo.outbound.hosts import is_public
from relevo.outbound.mta_sts_lookup import FetchSettings, StsPolicies
from relevo.outbound.tls_contexts import TlsContexts
from relevo.outbound.tls_policy import Levels, PolicySettings, TlsPolicies
from relevo.outbound.tls_report_sending import ReportMeans, send_reports
from relevo.outbound.tls_reports import ReportFiles, TlsReports

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from relevo.config import Config
    from relevo.dns import DnsLookups, SecureLookups
    from relevo.mailauth.dkim.private_key import SigningKey
    from relevo.queue.store import MessageId, Store

    class Lookups(DnsLookups, SecureLookups, Protocol):
        """All that is asked of DNS."""


_log = logging.getLogger(__name__)

WRITE_S: Final = 60.0  # between looks at what was counted
REPORT_S: Final = 3600.0  # between looks at whether a day is over


@dataclass(frozen=True, slots=True)
class ProtectionSurroundings:
    """What a worker has for it. `lookups` gives the resolver in use.

    `is_reporter`: this worker sends the reports of all. `keys_of` gives the keys of a domain of
    ours, which sign them.
    """

    lookups: Callable[[], Lookups]
    levels: Levels
    store: Store
    new_id: Callable[[float], MessageId]
    name: str
    is_reporter: bool
    keys_of: Callable[[str], Sequence[SigningKey]]
    wake: Callable[[], None] = lambda: None  # there is new mail in the queue


class Protection:
    """One worker's part."""

    def __init__(self, config: Config, around: ProtectionSurroundings) -> None:
        self.around = around
        self._config = config
        self.contexts = TlsContexts(config.outbound_tls.ca_file)
        self._fetching = FetchSettings(lambda: self.contexts.verifying, self._may_connect)
        self._sts = StsPolicies(around.lookups, config.data_dir, self._fetching)
        self._reports = TlsReports()
        self._files = ReportFiles(config.data_dir, around.name)
        self.policies = TlsPolicies(
            _settings(config),
            lookups=around.lookups,
            levels=around.levels,
            sts=self._sts,
            reports=self._reports,
        )
        self.use(config)

    def use(self, config: Config) -> None:
        """From now on; authorities of our own are read anew, changed or not."""
        if config.outbound_tls.ca_file or self._config.outbound_tls.ca_file:
            self.contexts.use(config.outbound_tls.ca_file)
        self._config = config
        self._allowed = tuple(map(ip_network, config.outbound.allow_addresses))
        self.policies.settings = _settings(config)

    async def run(self) -> None:
        """Until cancelled."""
        report_at = time.monotonic() + random.uniform(0, REPORT_S)
        await self._sts.prune()
        while True:
            await asyncio.sleep(WRITE_S)
            await self._write()
            if self.around.is_reporter and time.monotonic() >= report_at:
                report_at = time.monotonic() + REPORT_S
                await self._report(time.time())

    async def aclose(self) -> None:
        """Write what was counted, and end what is under way."""
        await self._sts.aclose()
        await self._write()

    async def _write(self) -> None:
        changed = self._reports.take_changed()
        if changed and self._config.outbound_tls.reports:
            await asyncio.to_thread(self._files.save, changed)

    async def _report(self, now: float) -> None:
        await self._sts.prune()
        config = self._config
        if not config.outbound_tls.reports or not is_time(now, config.hostname):
            return
        around = self.around
        reporter = Reporter.with_contact(config.outbound_tls.report_contact, config)
        means = ReportMeans(
            files=self._files,
            lookups=around.lookups,
            fetching=self._fetching,
            store=around.store,
            new_id=around.new_id,
            route=lambda domain: f"mx:{domain}",
            keys=around.keys_of(reporter.domain) if self._config.dkim.sign else (),
        )
        sent = await send_reports(means, reporter, now)
        if sent:
            _log.info("%d TLS reports sent", sent)

    def _may_connect(self, address: IPv4Address | IPv6Address) -> bool:
        return is_public(address) or any(address in network for network in self._allowed)


def _settings(config: Config) -> PolicySettings:
    tls = config.outbound_tls
    return PolicySettings(
        uses_mta_sts=tls.mta_sts,
        uses_dane=tls.dane,
        uses_levels=tls.remember,
        relaxed=frozenset(tls.relax),
        verified=frozenset(tls.verify),
    )
