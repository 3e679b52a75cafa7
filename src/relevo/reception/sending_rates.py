"""How much each user has sent within the last hour, over all workers, and when more may follow.

An hour is measured by two counts that every worker keeps: of the present hour of the clock that all
processes share, and of the one before, which counts less the further the present one is. So an
entry has a fixed size, and entries of several workers add up. The table is mapped by the supervisor
before it forks; each worker writes its own row only and needs no lock. Where a row is full, of the
places that a user may take the one with the oldest count is given up: under a flood of users a
limit may be kept less strictly, memory stays bounded. Nothing survives a restart.
"""

from __future__ import annotations

import mmap
import time
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from relevo.value import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOUR: Final = 3600.0
SLOTS: Final = 4096  # users a row; a power of two

_PROBES = 16
_CELLS = 8  # of 8 octets: key, hour, then of each kind the count of this hour and the one before
_ROW = SLOTS * _CELLS
_KINDS = 3


@dataclass(frozen=True, slots=True)
class Used:
    """A count of the present hour and of the one before it."""

    present: float = 0.0
    before: float = 0.0

    def within_hour(self, share: float) -> float:
        """The estimate for the last 60 minutes when `share` of the present hour is over."""
        return self.present + self.before * (1.0 - share)

    def wait_for(self, wanted: float, limit: float, share: float) -> float:
        """Seconds until `wanted` more fit below the limit; 0: now.

        More than the limit never fit at once: then an hour, as for the rest of them.
        """
        room = limit - wanted
        if room < 0:
            return HOUR
        if self.within_hour(share) <= room:
            return 0.0
        if self.present <= room:
            return (1.0 - (room - self.present) / self.before - share) * HOUR
        return (1.0 - share + 1.0 - room / self.present) * HOUR


@dataclass(frozen=True, slots=True)
class Usage:
    """What a user has done: messages accepted, their recipients, refusals for sending too much."""

    messages: Used = Used()
    recipients: Used = Used()
    refusals: Used = Used()


class SendingTable:
    """The shared memory: one row a worker."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        memory = memoryview(mmap.mmap(-1, workers * _ROW * 8))
        self._keys = memory.cast("Q")
        self._values = memory.cast("d")

    def usage(self, key: int, hour: float) -> Usage:
        """What all workers counted of a user together."""
        sums = [0.0] * (2 * _KINDS)
        for row in range(self._workers):
            entry = self._find(row, key)
            if entry >= 0:
                for number, value in enumerate(self._counts(entry, hour)):
                    sums[number] += value
        return Usage(Used(*sums[0:2]), Used(*sums[2:4]), Used(*sums[4:6]))

    def add(self, row: int, key: int, hour: float, counts: tuple[float, float, float]) -> None:
        """Count messages, recipients and refusals in a worker's own row."""
        entry = self._find(row, key)
        if entry < 0:
            entry = min(self._places(row, key), key=lambda place: self._values[place + 1])
            values = [0.0] * (2 * _KINDS)
        else:
            values = self._counts(entry, hour)
        for number, count in enumerate(counts):
            values[2 * number] += count
        self._keys[entry] = 0  # nobody is to read it half written
        self._values[entry + 1] = hour
        for number, value in enumerate(values):
            self._values[entry + 2 + number] = value
        self._keys[entry] = key

    def _counts(self, entry: int, hour: float) -> list[float]:
        """The six counts of an entry as they are in this hour."""
        age = hour - self._values[entry + 1]
        values = list(self._values[entry + 2 : entry + 2 + 2 * _KINDS])
        if age <= 0:
            return values
        if age > 1:
            return [0.0] * len(values)
        return [0.0 if number % 2 == 0 else values[number - 1] for number in range(len(values))]

    def _places(self, row: int, key: int) -> Iterator[int]:
        for probe in range(_PROBES):
            yield row * _ROW + ((key + probe) & (SLOTS - 1)) * _CELLS

    def _find(self, row: int, key: int) -> int:
        return next((place for place in self._places(row, key) if self._keys[place] == key), -1)


class SendingRates:
    """The limits as one worker keeps them."""

    def __init__(
        self, table: SendingTable, row: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._table = table
        self._row = row
        self._clock = clock

    def wait(self, user: str, *, messages: int, recipients: int, limits: tuple[int, int]) -> float:
        """Seconds until the user may send so many more; 0: now. A limit of 0 is none."""
        hour, share = self._now()
        usage = self._table.usage(_key(user), hour)
        pairs = ((usage.messages, messages, limits[0]), (usage.recipients, recipients, limits[1]))
        return max(
            used.wait_for(wanted, limit, share) if limit else 0.0 for used, wanted, limit in pairs
        )

    def sent(self, user: str, recipients: int) -> None:
        """A message was accepted."""
        self._table.add(self._row, _key(user), self._now()[0], (1.0, float(recipients), 0.0))

    def refused(self, user: str) -> None:
        """The user wanted to send more than is allowed."""
        self._table.add(self._row, _key(user), self._now()[0], (0.0, 0.0, 1.0))

    def refusals(self, user: str) -> float:
        """How often that was so within the last hour."""
        hour, share = self._now()
        return self._table.usage(_key(user), hour).refusals.within_hour(share)

    def _now(self) -> tuple[float, float]:
        hour, rest = divmod(self._clock(), HOUR)
        return hour, rest / HOUR


def _key(user: str) -> int:
    """A number for a user; never 0."""
    return int.from_bytes(blake2b(user.encode(), digest_size=8).digest(), "little") or 1
