"""Whether the store may be written to: failures, suspension, free space.

The first failure costs the batch it hit; the engine then checks its files before the next one. A
second failure within ten minutes suspends the store: reception answers 421 until a probe on a new
file succeeds. Low space is told apart, since it passes without a repair.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from relevo.queue.disk import Disk

_WINDOW = 600.0  # seconds within which a second failure suspends
_SPACE_AGE = 1.0  # seconds for which a look at the free space holds

Clock = Callable[[], float]


class Health:
    """Failures and free space of one store. Written by the writer thread, read by the loop."""

    def __init__(
        self, directory: Path, disk: Disk, *, min_free_space: float, clock: Clock = time.monotonic
    ) -> None:
        self._directory = directory
        self._disk = disk
        self._min_free_space = min_free_space
        self._clock = clock
        self._last_failure: float | None = None
        self._looked_at = float("-inf")
        self._is_short = False
        self.is_suspended = False
        self.failures = 0

    def failed(self) -> None:
        """A write, sync or commit failed."""
        now = self._clock()
        self.failures += 1
        if self._last_failure is not None and now - self._last_failure < _WINDOW:
            self.is_suspended = True
        self._last_failure = now

    def recovered(self) -> None:
        """A probe on a new file succeeded. A failure soon after suspends again."""
        self.is_suspended = False

    @property
    def is_short_of_space(self) -> bool:
        """Whether the free share is below the floor; looks at most once a second."""
        now = self._clock()
        if now - self._looked_at >= _SPACE_AGE:
            self._looked_at = now
            try:
                self._is_short = self._disk.free_share(self._directory) < self._min_free_space
            except OSError:
                self._is_short = True
        return self._is_short
