"""A message whose next hop never answers, or only after some time, played in no time at all.

The same functions decide as in a server: when the next try is, when the sender is told of the
delay, when the message is given up. Ages are seconds since the message was accepted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from math import inf

from relevo.queue.schedule import RetrySteps

MAX_TRIES = 1_000_000


class Step(Enum):
    """What happens to the message."""

    TRY_FAILS = "try fails"
    SENDER_TOLD = "the sender is told that it is delayed"
    DELIVERED = "delivered"
    GIVEN_UP = "given up, the sender is told"


@dataclass(frozen=True, slots=True)
class Played:
    """A step at an age; `wait`: until the next try, after one that fails."""

    age: float
    step: Step
    wait: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a configuration says. `delay_after`: None: the sender is not told of delays."""

    retry: RetrySteps
    give_up_after: float
    delay_after: float | None = None


def play(rules: Rules, *, answers_after: float = inf, spread: float = 0.5) -> Iterator[Played]:
    """What happens, in order, to a message whose next hop answers after an age.

    `spread` in [0, 1): which part of the random minute each wait gets.
    """
    age = 0.0
    is_told = rules.delay_after is None
    for _ in range(MAX_TRIES):
        if age >= answers_after:
            yield Played(age, Step.DELIVERED)
            return
        if age >= rules.give_up_after:
            yield Played(age, Step.GIVEN_UP)
            return
        wait = rules.retry.delay(age, spread=spread)
        yield Played(age, Step.TRY_FAILS, wait)
        if not is_told and rules.delay_after is not None and age >= rules.delay_after:
            yield Played(age, Step.SENDER_TOLD)
            is_told = True
        age += wait
