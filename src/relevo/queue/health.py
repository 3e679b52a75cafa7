"""Whether the store may be written to: failures, suspension, free space.

The first failure costs the batch it hit; the engine then checks its files before the next one. A
second failure within ten minutes suspends the store: reception answers 421 until a probe on a new
file succeeds. Low space is told apart, since it passes without a repair.

A disk that hangs is noticed too: when a batch has been under way for 30 s, no new mail is taken,
so that what waits in memory does not grow. Who waits for that batch goes on waiting: whether it
will be durable is not known, so neither 250 nor 451 would be true.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path

from relevo.queue.disk import Disk

_WINDOW = 600.0  # seconds within which a second failure suspends
_SPACE_AGE = 1.0  # seconds for which a look at the free space holds
_STALL = 30.0  # seconds after which a batch that has not ended counts as a hanging disk

Clock = Callable[[], float]


class StoreState(IntEnum):
    """Whether a store takes mail; the numbers are handed on in shared memory."""

    WRITABLE = 0
    SUSPENDED = 1
    STALLED = 2
    SHORT_OF_SPACE = 3

    @property
    def text(self) -> str:
        """For the operator: what is wrong and when it passes."""
        match self:
            case StoreState.WRITABLE:
                return "writable"
            case StoreState.SUSPENDED:
                return "takes no mail: writing failed (the log says why), tried again each second"
            case StoreState.STALLED:
                return f"takes no mail: the disk has not answered for {_STALL:.0f} s"
            case StoreState.SHORT_OF_SPACE:
                return "takes no mail: less space is free than queue.min_free_space"


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
        self.has_failed = False  # twice lately: nothing is written until a probe succeeds
        self._busy_since: float | None = None
        self.failures = 0

    def failed(self) -> None:
        """A write, sync or commit failed."""
        now = self._clock()
        self.failures += 1
        if self._last_failure is not None and now - self._last_failure < _WINDOW:
            self.has_failed = True
        self._last_failure = now

    def recovered(self) -> None:
        """A probe on a new file succeeded. A failure soon after suspends again."""
        self.has_failed = False

    def began(self) -> None:
        """The writer thread begins with a batch."""
        self._busy_since = self._clock()

    def ended(self) -> None:
        """The batch is over, however it went."""
        self._busy_since = None

    @property
    def is_stalled(self) -> bool:
        """Whether the batch under way has taken so long that the disk seems to hang."""
        since = self._busy_since  # once: the writer may clear it meanwhile
        return since is not None and self._clock() - since > _STALL

    @property
    def is_suspended(self) -> bool:
        """No new mail is to be taken, for failures or because the disk hangs."""
        return self.has_failed or self.is_stalled

    @property
    def state(self) -> StoreState:
        if self.has_failed:
            return StoreState.SUSPENDED
        if self.is_stalled:
            return StoreState.STALLED
        return StoreState.SHORT_OF_SPACE if self.is_short_of_space else StoreState.WRITABLE

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
