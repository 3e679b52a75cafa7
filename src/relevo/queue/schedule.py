"""When to try again, and when to stop, as pure functions; the defaults are chasquid's.

The wait depends on the age of the message, not on the number of attempts: after the first minutes
of quick tries a message is tried about three times an hour until it is given up. A random minute
on top spreads messages that failed together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from random import random
from typing import Self

from relevo.config.units import parse_duration

HELD_UNTIL = 253_370_764_800.0
"""The next try of what waits for the operator: the year 9999."""

_SPREAD = 60.0


@dataclass(frozen=True, slots=True)
class RetrySteps:
    """Waits in seconds, growing: the first that is longer than the message's age holds, the last
    for all that is older.
    """

    waits: tuple[float, ...] = (60.0, 300.0, 600.0, 1200.0)

    @classmethod
    def parse(cls, texts: Sequence[str]) -> Self:
        """From durations as the configuration has them. Raises ValueError."""
        return cls(tuple(parse_duration(text).total_seconds() for text in texts))

    def delay(self, age: float, *, spread: float | None = None) -> float:
        """Seconds until the next try of a message that is `age` seconds old.

        `spread` in [0, 1) places the wait within the random minute; drawn if not given.
        """
        share = random() if spread is None else spread
        wait = next((wait for wait in self.waits if age < wait), self.waits[-1])
        return wait + share * _SPREAD

    def next_try(self, created: float, now: float, *, spread: float | None = None) -> float:
        """The next try of a message created at `created` whose attempt ended `now`."""
        return now + self.delay(now - created, spread=spread)


DEFAULT_STEPS = RetrySteps()


def retry_delay(age: float, *, spread: float | None = None) -> float:
    """Seconds until the next try by the default steps."""
    return DEFAULT_STEPS.delay(age, spread=spread)


def next_try(created: float, now: float, *, spread: float | None = None) -> float:
    """The time of the next try by the default steps."""
    return DEFAULT_STEPS.next_try(created, now, spread=spread)


def is_given_up(created: float, now: float, give_up_after: timedelta) -> bool:
    """Whether recipients still waiting are to be failed instead of tried again."""
    return now - created >= give_up_after.total_seconds()
