"""Counts what DMARC found, by day, for the aggregate reports of RFC 9990.

Every worker counts in memory and writes its day to a file of its own in the data directory, a while
after something changed and when it ends; one worker puts the files of a day that is over together
(`dmarc_report_sending`). Counting is cheap, bounded and never fails: what there is no room for is
left out, and its number is told. A day is one of UTC.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from relevo.mailauth.dmarc.judged import JudgedMessage, PublishedPolicy
from relevo.outbound.daily_reports import DAY_S, DayFiles

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FOLDER: Final = "dmarc-reports"
MAX_DOMAINS: Final = 5_000  # a day and worker
MAX_ROWS: Final = 2_000  # a domain and worker
MAX_ALL_ROWS: Final = 50_000  # a day and worker


class DmarcDay:
    """The rows of a day by domain, and how many messages had no room in them."""

    def __init__(self) -> None:
        self.rows: dict[str, Counter[JudgedMessage]] = {}
        self.left_out: Counter[str] = Counter()
        self._size = 0

    def add(self, message: JudgedMessage, count: int = 1) -> None:
        domain = message.policy.domain
        rows = self.rows.get(domain)
        if rows is None:
            if len(self.rows) >= MAX_DOMAINS:
                return
            rows = self.rows[domain] = Counter()
        if message in rows:
            rows[message] += count
        elif len(rows) < MAX_ROWS and self._size < MAX_ALL_ROWS:
            rows[message] = count
            self._size += 1
        else:
            self.left_out[domain] += count


class DmarcCounts:
    """The counts of one worker."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._days: dict[int, DmarcDay] = {}  # by number of the day since the epoch
        self._changed: set[int] = set()

    def add(self, message: JudgedMessage) -> None:
        """Count a message that was judged now."""
        number = int(self._clock() // DAY_S)
        self._days.setdefault(number, DmarcDay()).add(message)
        self._changed.add(number)

    def take_changed(self) -> dict[int, DmarcDay]:
        """The days that changed since the last call; those before yesterday are forgotten."""
        changed = {number: self._days[number] for number in self._changed}
        self._changed.clear()
        today = int(self._clock() // DAY_S)
        for number in [number for number in self._days if number < today - 1]:
            del self._days[number]
        return changed


class DmarcFiles(DayFiles[DmarcDay]):
    """The days of all workers. Blocks. `writer` names this process among them."""

    def __init__(self, data_dir: Path, writer: str = "") -> None:
        super().__init__(
            data_dir / FOLDER,
            writer,
            subject="DMARC",
            empty=DmarcDay,
            plain=_plain,
            merge=_merge,
        )


def _plain(day: DmarcDay) -> dict[str, Any]:
    rows = [
        [*message, count] for counter in day.rows.values() for message, count in counter.items()
    ]
    return {"rows": rows, "left_out": day.left_out}


def _merge(whole: DmarcDay, plain: dict[str, Any]) -> None:
    for policy, *texts, signatures, count in plain["rows"]:
        ip, disposition, dkim, spf, override, author, sender, spf_domain, spf_result = texts
        message = JudgedMessage(
            policy=PublishedPolicy(*map(str, policy)),
            source_ip=str(ip),
            disposition=str(disposition),
            dkim=str(dkim),
            spf=str(spf),
            override=str(override),
            header_from=str(author),
            envelope_from=str(sender),
            spf_domain=str(spf_domain),
            spf_result=str(spf_result),
            signatures=tuple((str(d), str(s), str(result)) for d, s, result in signatures),
        )
        whole.add(message, int(count))
    for domain, count in plain["left_out"].items():
        whole.left_out[str(domain)] += int(count)
