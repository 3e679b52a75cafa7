"""The circuit breaker of one hook: a program that only hangs or crashes is left alone for a while.

Closed: calls go through; so many failures in a row open it. Open: calls fail at once. After the
pause one call is let through as a trial (half-open); its success closes, its failure opens again.
An edit of the hook's file closes it, since the new program has done nothing wrong. Time is an
argument, in seconds of any clock.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Breaker:
    """`failures`: 0 never opens."""

    failures: int
    pause_s: float
    _signature: object = None
    _in_a_row: int = 0
    _closed_at: float = 0.0  # when an open one lets a trial through
    _is_trying: bool = False

    def allows(self, now: float, signature: object) -> bool:
        """Whether to call now. A True must be followed by `report` or `forget`."""
        if signature != self._signature:
            self._signature = signature
            self._in_a_row = 0
            self._is_trying = False
        if not self.is_open:
            return True
        if now < self._closed_at or self._is_trying:
            return False
        self._is_trying = True
        return True

    def report(self, now: float, *, failed: bool) -> bool:
        """How a call went; True when this opened the breaker."""
        self._is_trying = False
        if not failed:
            self._in_a_row = 0
            return False
        was_open = self.is_open
        self._in_a_row += 1
        if self.is_open:
            self._closed_at = now + self.pause_s
        return self.is_open and not was_open

    def forget(self) -> None:
        """The call said nothing about the hook."""
        self._is_trying = False

    @property
    def is_open(self) -> bool:
        return bool(self.failures) and self._in_a_row >= self.failures
