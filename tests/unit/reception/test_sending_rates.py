"""Counting what users send, over workers and hours."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from relevo.reception.sending_rates import HOUR, SLOTS, SendingRates, SendingTable, Used

USER = "ada@example.org"


@dataclass
class Clock:
    now: float = 10 * HOUR

    def __call__(self) -> float:
        return self.now


def test_a_user_may_send_up_to_the_limit_over_all_workers() -> None:
    table, clock = SendingTable(2), Clock()
    one, other = SendingRates(table, 0, clock=clock), SendingRates(table, 1, clock=clock)
    for rates in (one, other, one):
        assert rates.wait(USER, messages=1, recipients=1, limits=(3, 0)) == 0
        rates.sent(USER, 1)
    assert other.wait(USER, messages=1, recipients=1, limits=(3, 0)) > 0
    assert other.wait("bob@example.org", messages=1, recipients=1, limits=(3, 0)) == 0


def test_recipients_have_a_limit_of_their_own() -> None:
    rates = SendingRates(SendingTable(1), 0, clock=Clock())
    rates.sent(USER, 8)
    assert rates.wait(USER, messages=1, recipients=2, limits=(0, 10)) == 0
    assert rates.wait(USER, messages=1, recipients=3, limits=(0, 10)) > 0


def test_the_wait_that_is_told_is_right() -> None:
    clock = Clock(10 * HOUR + 600)
    rates = SendingRates(SendingTable(1), 0, clock=clock)
    for _ in range(10):
        rates.sent(USER, 1)
    wait = rates.wait(USER, messages=1, recipients=1, limits=(10, 0))
    assert 3000 < wait < HOUR + 3000
    clock.now += wait - 1
    assert rates.wait(USER, messages=1, recipients=1, limits=(10, 0)) == pytest.approx(1, abs=0.1)
    clock.now += 1.01
    assert rates.wait(USER, messages=1, recipients=1, limits=(10, 0)) == 0


def test_what_is_two_hours_old_is_forgotten() -> None:
    clock = Clock()
    rates = SendingRates(SendingTable(1), 0, clock=clock)
    rates.sent(USER, 100)
    rates.refused(USER)
    assert rates.refusals(USER) == 1
    clock.now += 2 * HOUR
    assert rates.wait(USER, messages=1, recipients=1, limits=(1, 1)) == 0
    assert rates.refusals(USER) == 0


def test_more_than_the_limit_at_once_never_divides_by_nothing() -> None:
    assert Used().wait_for(10, 10, 0.5) == 0
    assert Used(present=1).wait_for(10, 10, 0.5) == pytest.approx(1.5 * HOUR)
    assert Used().wait_for(11, 10, 0.5) == HOUR


def test_memory_is_bounded_and_the_latest_users_are_known() -> None:
    clock = Clock()
    rates = SendingRates(SendingTable(1), 0, clock=clock)
    for number in range(3 * SLOTS):
        rates.sent(f"user{number}@example.org", 1)
    rates.sent(USER, 1)
    assert rates.wait(USER, messages=1, recipients=1, limits=(1, 0)) > 0
