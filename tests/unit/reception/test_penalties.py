"""Points fade, delays grow with them, and refusals are bounded."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.config.penalty_model import Penalties
from relevo.reception.penalties import (
    Offence,
    Standing,
    decayed,
    delay_of,
    points_for,
    refusal_of,
    rules_of,
    together,
)

RULES = rules_of(Penalties())
amounts = st.floats(0, 1e4)
standings = st.builds(
    Standing,
    time=st.floats(0, 1e6),
    score=st.floats(0, 2 * RULES.refuse_from),
    connections=amounts,
    commands=amounts,
    logins=amounts,
    refusals=amounts,
    refused_until=st.floats(0, 1e6),
)


def test_points_halve_in_the_half_life() -> None:
    start = Standing(100.0, score=80.0)
    assert decayed(start, 100.0 + RULES.half_life, RULES).score == pytest.approx(40.0)


@given(standings, st.floats(0, 1e6), st.floats(0, 1e6))
def test_every_value_only_falls_without_offences(
    start: Standing, first: float, second: float
) -> None:
    early, late = sorted((first, second))
    one = decayed(start, start.time + early, RULES)
    two = decayed(start, start.time + late, RULES)
    for name in ("score", "connections", "commands", "logins", "refusals"):
        assert 0 <= getattr(two, name) <= getattr(one, name) <= getattr(start, name)


@given(standings, st.floats(0, 1e5), st.floats(0, 1e5))
def test_fading_in_two_steps_is_as_in_one(start: Standing, first: float, second: float) -> None:
    at_once = decayed(start, start.time + first + second, RULES)
    in_steps = decayed(decayed(start, start.time + first, RULES), at_once.time, RULES)
    assert in_steps.score == pytest.approx(at_once.score, abs=1e-6)
    assert in_steps.refusals == pytest.approx(at_once.refusals, abs=1e-6)


@given(standings, standings, st.floats(0, 1e5))
def test_what_workers_know_fades_alike_alone_and_together(
    one: Standing, other: Standing, age: float
) -> None:
    now = max(one.time, other.time)
    one, other = replace(one, time=now), replace(other, time=now)
    sum_first = decayed(together(one, other), now + age, RULES)
    fade_first = together(decayed(one, now + age, RULES), decayed(other, now + age, RULES))
    assert sum_first.score == pytest.approx(fade_first.score, abs=1e-6)
    assert sum_first.refused_until == fade_first.refused_until


def test_a_clock_that_goes_back_changes_nothing() -> None:
    start = Standing(100.0, score=50.0)
    assert decayed(start, 40.0, RULES) == start


@given(st.lists(st.tuples(st.sampled_from(Offence), st.floats(0, 60)), max_size=300))
def test_points_delay_and_refusal_are_bounded_whatever_happens(
    history: list[tuple[Offence, float]],
) -> None:
    standing = Standing(0.0)
    for offence, pause in history:
        standing = decayed(standing, standing.time + pause, RULES)
        standing = replace(standing, score=standing.score + points_for(offence, standing, RULES))
        seconds = refusal_of(standing, standing.time, RULES)
        if seconds:
            assert RULES.refuse_for <= seconds <= RULES.refuse_at_most
            standing = replace(
                standing,
                refused_until=standing.time + seconds,
                refusals=standing.refusals + 1,
            )
        assert 0 <= standing.score <= 2 * RULES.refuse_from
        assert 0 <= delay_of(standing.score, RULES) <= RULES.max_delay


def test_points_are_bounded_however_long_it_goes_on() -> None:
    score = 0.0
    for _ in range(1000):
        score += points_for(Offence.AUTH, Standing(0.0, score=score), RULES)
    assert score == 2 * RULES.refuse_from


@given(st.floats(0, 300), st.floats(0, 300))
def test_delays_grow_with_the_points(one: float, other: float) -> None:
    less, more = sorted((one, other))
    assert delay_of(less, RULES) <= delay_of(more, RULES)


def test_delays_start_at_their_threshold_and_reach_their_bound() -> None:
    assert delay_of(RULES.delay_from - 0.1, RULES) == 0
    assert 0 < delay_of(RULES.delay_from, RULES) < 0.1
    assert delay_of(RULES.refuse_from, RULES) == RULES.max_delay


def test_each_further_refusal_is_twice_as_long() -> None:
    refused = [
        refusal_of(Standing(0.0, score=100.0, refusals=float(times)), 0.0, RULES)
        for times in range(8)
    ]
    assert refused == [60, 120, 240, 480, 960, 1920, 3600, 3600]


def test_who_is_refused_already_is_not_refused_anew() -> None:
    assert refusal_of(Standing(0.0, score=150.0, refused_until=10.0), 0.0, RULES) == 0


@pytest.mark.parametrize(
    ("offence", "every_s", "worst_delay"),
    [
        pytest.param(Offence.AUTH, 60.0, 3.0, id="a mail program with an old password"),
        pytest.param(Offence.RECIPIENT, 30.0, 2.5, id="a sender with a stale list"),
    ],
)
def test_what_ordinary_clients_do_is_never_refused(
    offence: Offence, every_s: float, worst_delay: float
) -> None:
    standing = Standing(0.0)
    for _ in range(2000):
        standing = decayed(standing, standing.time + every_s, RULES)
        standing = replace(standing, score=standing.score + points_for(offence, standing, RULES))
        assert refusal_of(standing, standing.time, RULES) == 0
    assert delay_of(standing.score, RULES) < worst_delay
