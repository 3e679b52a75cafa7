"""Who of a pool does what: a byte for each launcher, in memory shared with the host.

A pool is as large as it had to be. Programs that only compute gain nothing from more launchers than
there are processors, and each more costs time, since its pages are in nobody's cache. So there are
few of them, and one more only while all that are there either wait for their hook already for
longer than a moment, or are those few. A launcher that changes this rings the host.
"""

from __future__ import annotations

import mmap
import os
from contextlib import suppress
from dataclasses import dataclass

_IDLE, _BUSY, _LONG, _EMPTY = (bytes([state]) for state in range(4))


class Places:
    """The places of one pool; made by the host before it forks launchers.

    `few` launchers are always worth having: some more than there are processors.
    """

    def __init__(self, count: int, few: int | None = None) -> None:
        self.few = len(os.sched_getaffinity(0)) + 2 if few is None else few
        self._bytes = mmap.mmap(-1, count)
        self._bytes[:] = _EMPTY * count

    @property
    def memory(self) -> mmap.mmap:
        """The octets, one a place: 0 idle, 1 busy, 2 long, 3 empty."""
        return self._bytes

    def claim(self) -> int | None:
        """Number of an empty place, idle from now on; None: there is none."""
        number = self._bytes.find(_EMPTY)
        if number < 0:
            return None
        self._bytes[number : number + 1] = _IDLE
        return number

    def vacate(self, number: int) -> None:
        """Its launcher is gone."""
        self._bytes[number : number + 1] = _EMPTY

    def set_idle(self, number: int) -> None:
        """Its launcher waits for a request."""
        self._bytes[number : number + 1] = _IDLE

    def set_busy(self, number: int, *, is_long: bool = False) -> None:
        """A call runs there; a long one keeps its launcher waiting."""
        self._bytes[number : number + 1] = _LONG if is_long else _BUSY

    def is_long(self, number: int) -> bool:
        """A long call runs there."""
        return self._bytes[number : number + 1] == _LONG

    @property
    def has_idle(self) -> bool:
        """Somebody waits for a request."""
        return self._bytes.find(_IDLE) >= 0

    @property
    def may_grow(self) -> bool:
        """Another launcher is of use, and there is an empty place."""
        states = self._bytes[:]
        return _IDLE not in states and states.count(_BUSY) < self.few and _EMPTY in states

    def close(self) -> None:
        self._bytes.close()


@dataclass(frozen=True, slots=True)
class Place:
    """A launcher's own place; `bell` is the descriptor that rings the host."""

    places: Places
    number: int
    bell: int

    @property
    def is_one_of_few(self) -> bool:
        """Its launcher stays, also when there is nothing to do."""
        return self.number < self.places.few

    @property
    def is_long(self) -> bool:
        """What was said with `lengthen`."""
        return self.places.is_long(self.number)

    def take(self) -> None:
        """A request came."""
        self.places.set_busy(self.number)
        self._ring()

    def lengthen(self) -> None:
        """The call is a long one, or has left something to clean up."""
        self.places.set_busy(self.number, is_long=True)
        self._ring()

    def free(self) -> None:
        """Nothing is left of it."""
        self.places.set_idle(self.number)

    def _ring(self) -> None:
        if self.places.may_grow:
            with suppress(OSError):  # full: it rings already
                os.write(self.bell, b"g")
