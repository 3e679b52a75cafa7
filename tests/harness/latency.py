"""How long a server's answers take, and whether others have disturbed it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

NOISE_MS = 20.0
"""A p99 below this tells nothing: two processors that start hundreds of programs a second have
turns as long."""

MOST_MS = 50.0
"""What no disturbance may bring the p99 above, however slow the machine usually is."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Of many round trips, milliseconds."""

    p50: float
    p99: float
    count: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Latency:
        ordered = sorted(seconds)
        at = min(len(ordered) - 1, int(len(ordered) * 0.99))
        return cls(ordered[len(ordered) // 2] * 1e3, ordered[at] * 1e3, len(ordered))

    def is_normal(self, usual: Latency) -> bool:
        """At most twice as long as usual, or as the machine's noise; and never above `MOST_MS`."""
        return self.p99 <= min(max(2 * usual.p99, NOISE_MS), MOST_MS)

    def __str__(self) -> str:
        return f"p50 {self.p50:.1f} ms, p99 {self.p99:.1f} ms of {self.count}"
