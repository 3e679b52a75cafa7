"""Signs of life in shared memory, and who notices when they stop.

A process whose loop runs adds one to its cell each half second. The supervisor remembers when it
last saw a cell change; one that stays the same for `server.hang_timeout` belongs to a loop that
hangs, in C, in an endless loop of ours, or stopped by a signal.

Nothing is concluded from a time in which the supervisor itself did not look: a machine that was
suspended, a server that was stopped as a whole, or one that got no processor. Then every wait
starts anew. Only the monotonic clock counts, so a change of the time of day changes nothing.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

INTERVAL = 0.5  # seconds between beats
_CELL = 8


class Heartbeats:
    """The shared memory: one cell a process."""

    def __init__(self, rows: int) -> None:
        self._cells = memoryview(mmap.mmap(-1, rows * _CELL)).cast("Q")

    def beat(self, row: int) -> None:
        """A sign of life."""
        self._cells[row] += 1

    def read(self, row: int) -> int:
        """How many there were."""
        return self._cells[row]


class HangWatch:
    """When each process was last seen alive. Times are of time.monotonic()."""

    def __init__(self, beats: Heartbeats, timeout: float) -> None:
        """`timeout` in seconds; 0: nobody hangs."""
        self._beats = beats
        self.timeout = timeout
        self._due = 0.0
        self._seen: dict[int, tuple[int, float]] = {}  # row → beats, when they were new

    def next_look(self, now: float) -> float | None:
        """When `hanging` shall be asked; None: never."""
        if not self.timeout:
            return None
        if not self._due:
            self._due = now + self._pause
        return self._due

    def start_anew(self, row: int) -> None:
        """The process of this row is another one now."""
        self._seen.pop(row, None)

    def hanging(self, rows: Iterable[int], now: float) -> list[int]:
        """Those of `rows` that gave no sign for the timeout. To be asked when a look is due."""
        if not self.timeout or now < self._due:
            return []
        if now > self._due + self._pause:
            self._seen.clear()  # we were late ourselves
        self._due = now + self._pause
        found = []
        for row in rows:
            beats = self._beats.read(row)
            known, since = self._seen.get(row, (-1, now))
            if beats != known:
                self._seen[row] = (beats, now)
            elif now - since >= self.timeout:
                found.append(row)
        return found

    @property
    def _pause(self) -> float:
        return min(1.0, self.timeout / 4)
