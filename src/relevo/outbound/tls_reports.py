"""Counts how TLS with other domains went, by day, for the reports of RFC 8460.

Every worker counts in memory and writes its day to a file of its own in the data directory, a while
after something changed and when it ends; one worker puts the files of a day that is over together
(`tls_report_sending`). Counting is cheap, bounded and never fails: what there is no room for is
left out. A day is one of UTC (§4.1).
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from relevo.delivery.link_values import TlsFacts
from relevo.outbound.daily_reports import DAY_S, DayFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from relevo.outbound.peer import PeerUnusable
    from relevo.outbound.tls_policy import DomainTls, HostRefused

FOLDER: Final = "tls-reports"
MAX_DOMAINS: Final = 20_000  # a day and worker
MAX_FAILURES: Final = 100  # kinds, of a domain


@dataclass(frozen=True, slots=True)
class PolicyKey:
    """A policy that was applied: its type (§4.4), its text, the hosts it names."""

    domain: str
    kind: str  # "tlsa", "sts", "no-policy-found"
    lines: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FailureKey:
    """A kind of failure (§4.3)."""

    result: str
    host: str
    address: str


class Tally:
    """What was counted under one policy."""

    __slots__ = ("failures", "successes")

    def __init__(self) -> None:
        self.successes = 0
        self.failures: Counter[FailureKey] = Counter()

    def fail(self, key: FailureKey, count: int = 1) -> None:
        if key in self.failures or len(self.failures) < MAX_FAILURES:
            self.failures[key] += count

    @property
    def failed(self) -> int:
        return self.failures.total()


Day = dict[PolicyKey, Tally]


class TlsReports:
    """The counts of one worker."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._days: dict[int, Day] = {}  # by number of the day since the epoch
        self._changed: set[int] = set()

    def add(
        self,
        domain: DomainTls,
        host: str,
        address: str,
        outcome: TlsFacts | PeerUnusable | HostRefused,
    ) -> None:
        """Count a connection, or why there was none."""
        failure = domain.found.failure
        result = outcome.tls_result
        if isinstance(outcome, TlsFacts):
            is_good = outcome.is_verified if _needs_proof(domain, host) else outcome.is_tls
        elif not result:
            return  # it failed for other reasons, which are none of these reports
        else:
            is_good = False
        tally = self._tally(policy_of(domain, host))
        if tally is None:
            return
        if is_good:
            tally.successes += 1
        elif result:
            tally.fail(FailureKey(result, host, address))
        if failure is not None:
            tally.fail(FailureKey(failure.tls_result, "", ""))

    def take_changed(self) -> dict[int, Day]:
        """The days that changed since the last call; those before yesterday are forgotten."""
        changed = {day: self._days[day] for day in self._changed if day in self._days}
        self._changed.clear()
        today = int(self._clock() // DAY_S)
        for day in [day for day in self._days if day < today - 1]:
            del self._days[day]
        return changed

    def _tally(self, key: PolicyKey) -> Tally | None:
        number = int(self._clock() // DAY_S)
        day = self._days.setdefault(number, {})
        self._changed.add(number)
        tally = day.get(key)
        if tally is None and len(day) < MAX_DOMAINS:
            tally = day[key] = Tally()
        return tally


def policy_of(domain: DomainTls, host: str) -> PolicyKey:
    """Which policy decides about a host of a domain."""
    records = domain.tlsa.get(host)
    if records:
        lines = tuple(
            f"{r.usage} {r.selector} {r.matching_type} {r.data.hex()[:128]}" for r in records[:20]
        )
        return PolicyKey(domain.domain, "tlsa", lines, (host,))
    if domain.policy is not None:
        return PolicyKey(domain.domain, "sts", domain.policy.lines, domain.policy.mx)
    return PolicyKey(domain.domain, "no-policy-found")


def _needs_proof(domain: DomainTls, host: str) -> bool:
    """Does a policy say that an unverified connection is a failure? Also in testing mode."""
    return bool(domain.tlsa.get(host)) or domain.policy is not None


class ReportFiles(DayFiles[Day]):
    """The days of all workers. Blocks. `writer` names this process among them."""

    def __init__(self, data_dir: Path, writer: str = "") -> None:
        super().__init__(
            data_dir / FOLDER,
            writer,
            subject="TLS",
            empty=dict,
            plain=lambda day: [_entry(*item) for item in day.items()],
            merge=_merge,
        )


def _entry(key: PolicyKey, tally: Tally) -> dict[str, Any]:
    return {
        "domain": key.domain,
        "kind": key.kind,
        "lines": key.lines,
        "hosts": key.hosts,
        "successes": tally.successes,
        "failures": [
            (failure.result, failure.host, failure.address, count)
            for failure, count in tally.failures.items()
        ],
    }


def _merge(whole: Day, entries: Iterable[dict[str, Any]]) -> None:
    for entry in entries:
        lines, hosts = tuple(map(str, entry["lines"])), tuple(map(str, entry["hosts"]))
        key = PolicyKey(str(entry["domain"]), str(entry["kind"]), lines, hosts)
        tally = whole.setdefault(key, Tally())
        tally.successes += int(entry["successes"])
        for result, host, address, count in entry["failures"]:
            tally.fail(FailureKey(str(result), str(host), str(address)), int(count))
