"""Finds the MTA-STS policy of a domain: record in DNS, what is kept, policy host (RFC 8461).

A kept policy holds until it ends, whatever DNS says meanwhile (§5.1): who can forge DNS must not be
able to take it away. It is fetched anew when the record has another id, and a while before its end.
A fetch that failed is not repeated for some minutes. At most one fetch of a domain at a time.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final

from relevo.dns import BadName, DnsFailed, ask_name
from relevo.outbound.https_request import Request, RequestFailed, send_request
from relevo.outbound.mta_sts import BadPolicy, read_policy, read_record
from relevo.outbound.mta_sts_files import KeptPolicy, PolicyFiles

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from relevo.dns import DnsLookups

_log = logging.getLogger(__name__)

FAILED_S: Final = 300.0  # until a fetch is tried again (§3.3)
WAIT_S: Final = 25.0  # for a fetch, its turn included; what is kept must not be lost by waiting
REFRESH_S: Final = 86_400.0  # a policy older than this, or than half of its life, is fetched anew
MAX_DOMAINS: Final = 10_000
MAX_FETCHES: Final = 20  # at once
_PATH: Final = "/.well-known/mta-sts.txt"


@dataclass(frozen=True, slots=True)
class StsFailure:
    """A domain says that it has a policy, and it cannot be had (RFC 8460 §4.3.2.1)."""

    tls_result: str  # sts-policy-fetch-error, sts-policy-invalid, sts-webpki-invalid
    text: str


@dataclass(frozen=True, slots=True)
class FoundPolicy:
    """Both None: the domain has none. Both there: a kept one is used, a new one cannot be had."""

    kept: KeptPolicy | None = None
    failure: StsFailure | None = None


@dataclass(slots=True)
class _Known:
    """What this worker knows of a domain."""

    kept: KeptPolicy | None = None
    failure: StsFailure | None = None
    failed_at: float = float("-inf")
    failed_id: str = ""


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """How policy hosts are reached. `may_connect`: the rule about addresses of unknown hosts."""

    context: Callable[[], ssl.SSLContext]
    may_connect: Callable[[IPv4Address | IPv6Address], bool]
    port: int = 443


class StsPolicies:
    """The policies of all domains, for one worker. `lookups` gives the resolver in use."""

    def __init__(
        self,
        lookups: Callable[[], DnsLookups],
        data_dir: Path,
        settings: FetchSettings,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._lookups = lookups
        self._files = PolicyFiles(data_dir)
        self._settings = settings
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._fetches: dict[str, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(MAX_FETCHES)

    async def find(self, domain: str) -> FoundPolicy:
        """The policy of a domain as it is known now. Never raises for what the domain does."""
        try:
            name = ask_name(domain)
        except BadName:
            return FoundPolicy()
        known = await self._recall(name)
        record_id = await self._record_id(name)
        now = self._clock()
        kept = known.kept if known.kept is not None and now < known.kept.expires else None
        if record_id is None:
            return FoundPolicy(kept)
        if kept is None or kept.record_id != record_id:
            await self._fetch(name, known, record_id)
        elif now - kept.fetched > min(REFRESH_S, kept.policy.max_age_s / 2):
            self._begin_fetch(name, known, record_id)  # this mail does not wait for it
        if known.kept is not None and now < known.kept.expires:
            kept = known.kept
        return FoundPolicy(kept, known.failure)

    async def prune(self) -> None:
        """Remove the files of policies that are over."""
        await asyncio.to_thread(self._files.prune, self._clock())

    async def aclose(self) -> None:
        """End the fetches that are under way."""
        tasks = list(self._fetches.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _recall(self, name: str) -> _Known:
        known = self._known.get(name)
        if known is None:
            kept = await asyncio.to_thread(self._files.load, name)
            known = self._known.setdefault(name, _Known(kept))
            if len(self._known) > MAX_DOMAINS:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(name)
        return known

    async def _record_id(self, name: str) -> str | None:
        try:
            answer = await self._lookups().txt(f"_mta-sts.{name}")
        except DnsFailed:
            return None
        return read_record(answer.records)

    async def _fetch(self, name: str, known: _Known, record_id: str) -> None:
        task = self._begin_fetch(name, known, record_id)
        if task is not None:
            # who waits may be cancelled, or have waited enough; the fetch goes on
            await asyncio.wait((task,), timeout=WAIT_S)

    def _begin_fetch(self, name: str, known: _Known, record_id: str) -> asyncio.Task[None] | None:
        """The one fetch of this domain; None: it failed a moment ago."""
        task = self._fetches.get(name)
        if task is None:
            is_too_soon = self._clock() - known.failed_at < FAILED_S
            if is_too_soon and known.failed_id == record_id:
                return None
            task = asyncio.create_task(self._fetch_once(name, known, record_id))
            self._fetches[name] = task
            task.add_done_callback(lambda _: self._fetches.pop(name, None))
        return task

    async def _fetch_once(self, name: str, known: _Known, record_id: str) -> None:
        try:
            text = await self._download(name)
            kept = KeptPolicy(read_policy(text), record_id, self._clock())
        except (RequestFailed, BadPolicy, DnsFailed) as error:
            failure = _failure(error)
            known.failure, known.failed_at, known.failed_id = failure, self._clock(), record_id
            _log.info("MTA-STS policy of %s: %s", name, failure.text)
            return
        known.kept, known.failure = kept, None
        await asyncio.to_thread(self._files.save, name, kept)

    async def _download(self, name: str) -> bytes:
        """The octets of the policy. Raises RequestFailed, BadPolicy, DnsFailed."""
        host = f"mta-sts.{name}"
        async with self._slots:
            addresses = await find_addresses(self._lookups(), host, self._settings.may_connect)
            request = Request(host, _PATH, self._settings.port)
            response = await send_request(request, addresses, self._settings.context())
        if response.status != 200:
            raise RequestFailed(f"it answers {response.status}")
        if response.media_type != "text/plain":
            raise BadPolicy(f"its type is {response.media_type or 'not said'}, not text/plain")
        return response.body


async def find_addresses(
    lookups: DnsLookups,
    host: str,
    may_connect: Callable[[IPv4Address | IPv6Address], bool],
) -> list[IPv4Address | IPv6Address]:
    """Addresses of a host that may be connected to, at most four, IPv4 first. Raises DnsFailed."""
    found: list[IPv4Address | IPv6Address] = []
    failure: DnsFailed | None = None
    for look_up in (lookups.a, lookups.aaaa):
        try:
            answer = await look_up(host)
        except DnsFailed as error:
            failure = error
        else:
            found += [address for address in answer.records if may_connect(address)][:2]
    if not found and failure is not None:
        raise failure
    return found


def _failure(error: RequestFailed | BadPolicy | DnsFailed) -> StsFailure:
    match error:
        case RequestFailed(is_certificate=True):
            return StsFailure("sts-webpki-invalid", f"the policy host: {error}")
        case RequestFailed():
            return StsFailure("sts-policy-fetch-error", f"the policy host: {error}")
        case BadPolicy():
            return StsFailure("sts-policy-invalid", f"not a policy: {error}")
        case DnsFailed():
            return StsFailure("sts-policy-fetch-error", f"the policy host: {error.question} failed")
