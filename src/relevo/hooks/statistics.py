"""How often each hook was called, how it ended and how long it took, over all workers.

The numbers stand in memory that the supervisor maps before it forks; each worker writes its own
row, readers add the rows up. A row has a bounded number of entries, one for each hook that was
ever called; what does not fit is counted in the last one, whose name is `others`.
"""

from __future__ import annotations

import mmap
import struct
from bisect import bisect_left
from dataclasses import dataclass, field
from enum import Enum

ENTRIES = 64
OTHERS = "others"
BOUNDS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000)
"""Upper bounds of the buckets of call times; a last bucket is for longer ones."""

_NAME = 96


class HookOutcome(Enum):
    """What came of a call."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    TEMPFAILED = "tempfailed"
    BAD_OUTPUT = "bad_output"  # accepted, its header fields left out
    FOUND = "found"
    NOT_FOUND = "not_found"
    FAILED = "failed"


_OUTCOMES = {outcome: number for number, outcome in enumerate(HookOutcome)}
_NUMBERS = struct.Struct(f"={len(_OUTCOMES) + 2 + len(BOUNDS_MS) + 1}Q")
_TOTAL_US = len(_OUTCOMES)
_MOST_US = _TOTAL_US + 1
_BUCKETS = _MOST_US + 1
_BOUNDS_US = tuple(bound * 1000 for bound in BOUNDS_MS)
_WORD = 8
_ENTRY = _NAME + _NUMBERS.size
_ROW = ENTRIES * _ENTRY


@dataclass(slots=True)
class HookFigures:
    """One hook's figures, over all workers."""

    name: str
    outcomes: dict[HookOutcome, int] = field(default_factory=dict)
    total_s: float = 0.0
    longest_s: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_MS) + 1))

    @property
    def calls(self) -> int:
        return sum(self.outcomes.values())

    def quantile_ms(self, share: float) -> float:
        """Upper bound of the bucket that holds this share of the calls."""
        left = share * self.calls
        for bound, count in zip(BOUNDS_MS, self.buckets, strict=False):
            left -= count
            if left <= 0:
                return min(float(bound), self.longest_s * 1e3)
        return self.longest_s * 1e3

    def as_dict(self) -> dict[str, object]:
        """For `relevo status`."""
        calls = self.calls
        return {
            "hook": self.name,
            "calls": calls,
            **{outcome.value: count for outcome, count in self.outcomes.items() if count},
            "mean_ms": round(self.total_s * 1e3 / calls, 2) if calls else 0.0,
            "p50_ms": round(self.quantile_ms(0.5), 2),
            "p99_ms": round(self.quantile_ms(0.99), 2),
            "longest_ms": round(self.longest_s * 1e3, 2),
        }


class HookStatistics:
    """The shared memory."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._memory = mmap.mmap(-1, rows * _ROW)

    def counter(self, row: int) -> HookCounter:
        """The writer of a row. A worker that was started again goes on with its row."""
        return HookCounter(self._memory, row * _ROW)

    def read(self) -> list[HookFigures]:
        """All hooks that were called, by name."""
        found: dict[str, HookFigures] = {}
        for start in range(0, self._rows * _ROW, _ENTRY):
            name = _name(self._memory, start)
            if name:
                figures = found.setdefault(name, HookFigures(name))
                _add(figures, _NUMBERS.unpack_from(self._memory, start + _NAME))
        return [found[name] for name in sorted(found)]


class HookCounter:
    """Counts the calls of one worker."""

    def __init__(self, memory: mmap.mmap, start: int) -> None:
        self._memory = memory
        self._numbers = memoryview(memory).cast("Q")
        self._start = start
        self._offsets = {
            name: offset
            for offset in range(start, start + _ROW, _ENTRY)
            if (name := _name(memory, offset))
        }

    def count(self, name: str, outcome: HookOutcome, seconds: float) -> None:
        """One call is over."""
        numbers, start = self._numbers, (self._offset(name) + _NAME) // _WORD
        microseconds = int(seconds * 1e6)
        numbers[start + _OUTCOMES[outcome]] += 1
        numbers[start + _TOTAL_US] += microseconds
        numbers[start + _MOST_US] = max(numbers[start + _MOST_US], microseconds)
        numbers[start + _BUCKETS + bisect_left(_BOUNDS_US, microseconds)] += 1

    def _offset(self, name: str) -> int:
        offset = self._offsets.get(name)
        if offset is not None:
            return offset
        if len(self._offsets) >= ENTRIES - 1:
            name = OTHERS
        if name not in self._offsets:
            offset = self._start + len(self._offsets) * _ENTRY
            self._memory[offset : offset + _NAME] = name.encode()[:_NAME].ljust(_NAME, b"\0")
            self._offsets[name] = offset
        return self._offsets[name]


def _name(memory: mmap.mmap, offset: int) -> str:
    return memory[offset : offset + _NAME].rstrip(b"\0").decode("utf-8", "replace")


def _add(figures: HookFigures, numbers: tuple[int, ...]) -> None:
    for outcome, number in _OUTCOMES.items():
        figures.outcomes[outcome] = figures.outcomes.get(outcome, 0) + numbers[number]
    figures.total_s += numbers[_TOTAL_US] / 1e6
    figures.longest_s = max(figures.longest_s, numbers[_MOST_US] / 1e6)
    figures.buckets = [a + b for a, b in zip(figures.buckets, numbers[_BUCKETS:], strict=True)]
