"""When to try again, and when to stop: chasquid's schedule, as pure functions.

The wait depends on the age of the message, not on the number of attempts: after the first minutes
of quick tries a message is tried about three times an hour until it is given up. A random minute
on top spreads messages that failed together.
"""

from __future__ import annotations

from datetime import timedelta
from random import random

_MINUTE = 60.0
_SPREAD = 60.0
# (age below which it holds, wait), seconds
_STEPS = ((1 * _MINUTE, 1 * _MINUTE), (5 * _MINUTE, 5 * _MINUTE), (10 * _MINUTE, 10 * _MINUTE))
_LONGEST = 20 * _MINUTE


def retry_delay(age: float, *, spread: float | None = None) -> float:
    """Seconds until the next try of a message that is `age` seconds old.

    `spread` in [0, 1) places the wait within the random minute; drawn if not given.
    """
    share = random() if spread is None else spread
    wait = next((wait for below, wait in _STEPS if age < below), _LONGEST)
    return wait + share * _SPREAD


def next_try(created: float, now: float, *, spread: float | None = None) -> float:
    """The time of the next try, for a message created at `created` whose attempt ended `now`."""
    return now + retry_delay(now - created, spread=spread)


def is_given_up(created: float, now: float, give_up_after: timedelta) -> bool:
    """Whether recipients still waiting are to be failed instead of tried again."""
    return now - created >= give_up_after.total_seconds()
