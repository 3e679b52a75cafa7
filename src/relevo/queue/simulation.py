"""A message whose next hop never answers, or only after some time, played in no time at all.

The same functions decide as in a server: when the next try is, when the sender is told of the
delay, when the message is given up. Ages are seconds since the message was accepted; one that was
held by its sender's wish is given up by the time since it was let go.
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
    RELEASED = "its sender's time has come, the first try"
    TIME_IS_OVER = "not delivered in its sender's time, the sender is told"
    RETURNED = "not delivered in its sender's time, it comes back"


@dataclass(frozen=True, slots=True)
class Played:
    """A step at an age; `wait`: until the next try, after one that fails."""

    age: float
    step: Step
    wait: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a configuration says. `delay_after`: None: the sender is not told of delays.

    And what the sender wishes: `hold`, not before that age; `deliver_by`, until that age, then the
    message comes back (`returns`), or only the sender is told.
    """

    retry: RetrySteps
    give_up_after: float
    delay_after: float | None = None
    hold: float = 0.0
    deliver_by: float = inf
    returns: bool = False


def play(rules: Rules, *, answers_after: float = inf, spread: float = 0.5) -> Iterator[Played]:
    """What happens, in order, to a message whose next hop answers after an age.

    `spread` in [0, 1): which part of the random minute each wait gets.
    """
    age = rules.hold
    if age:
        yield Played(age, Step.RELEASED)
    is_told = rules.delay_after is None and rules.deliver_by == inf
    for _ in range(MAX_TRIES):
        if rules.returns and age >= rules.deliver_by:
            yield Played(age, Step.RETURNED)
            return
        if age >= answers_after:
            yield Played(age, Step.DELIVERED)
            return
        waited = age - rules.hold
        if waited >= rules.give_up_after:
            yield Played(age, Step.GIVEN_UP)
            return
        wait = rules.retry.delay(waited, spread=spread)
        if age < rules.deliver_by:
            wait = min(wait, rules.deliver_by - age)
        yield Played(age, Step.TRY_FAILS, wait)
        is_over = age >= rules.deliver_by
        if not is_told and (is_over or waited >= (rules.delay_after or inf)):
            yield Played(age, Step.TIME_IS_OVER if is_over else Step.SENDER_TOLD)
            is_told = True
        age += wait
