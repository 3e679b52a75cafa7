"""Who of a pool is busy: a byte for each launcher, in memory that all of them share with the host.

A launcher that takes the last idle place rings the host, which starts one more while the pool may
have more. So a pool is as large as it had to be, and a call hardly ever waits for a fork.
"""

from __future__ import annotations

import mmap
import os
from contextlib import suppress
from dataclasses import dataclass

_IDLE, _BUSY, _EMPTY = 0, 1, 2


class Places:
    """The places of one pool; made by the host before it forks launchers."""

    def __init__(self, count: int) -> None:
        self._bytes = mmap.mmap(-1, count)
        self._bytes[:] = bytes([_EMPTY]) * count

    def claim(self) -> int | None:
        """Number of an empty place, idle from now on; None: there is none."""
        number = self._bytes.find(bytes([_EMPTY]))
        if number < 0:
            return None
        self._bytes[number] = _IDLE
        return number

    def vacate(self, number: int) -> None:
        """Its launcher is gone."""
        self._bytes[number] = _EMPTY

    def set_busy(self, number: int, *, is_busy: bool) -> None:
        """Said by the launcher of the place."""
        self._bytes[number] = _BUSY if is_busy else _IDLE

    @property
    def has_idle(self) -> bool:
        """Somebody waits for a request."""
        return self._bytes.find(bytes([_IDLE])) >= 0

    @property
    def may_grow(self) -> bool:
        """Nobody waits for a request, and there is an empty place."""
        return not self.has_idle and self._bytes.find(bytes([_EMPTY])) >= 0

    def close(self) -> None:
        self._bytes.close()


@dataclass(frozen=True, slots=True)
class Place:
    """A launcher's own place; `bell` is the descriptor that rings the host."""

    places: Places
    number: int
    bell: int

    def take(self) -> None:
        """A request came."""
        self.places.set_busy(self.number, is_busy=True)
        if self.places.may_grow:
            with suppress(OSError):  # full: it rings already
                os.write(self.bell, b"g")

    def free(self) -> None:
        """Nothing is left of it."""
        self.places.set_busy(self.number, is_busy=False)
