"""The retry schedule: chasquid's steps by age."""

from __future__ import annotations

from datetime import timedelta

import pytest

from relevo.queue.schedule import is_given_up, next_try, retry_delay


@pytest.mark.parametrize(
    ("age", "minutes"),
    [
        (0, 1), (59.9, 1), (60, 5), (299, 5), (300, 10), (599, 10), (600, 20), (72_000, 20),
        (-5, 1),
    ],
)  # fmt: skip
def test_delay_follows_the_age(age: float, minutes: int) -> None:
    assert retry_delay(age, spread=0) == minutes * 60
    assert retry_delay(age, spread=0.5) == minutes * 60 + 30


def test_delay_is_spread_over_a_minute() -> None:
    delays = {retry_delay(0) for _ in range(200)}
    assert len(delays) > 100
    assert 60 <= min(delays) < 80
    assert 100 < max(delays) < 120


def test_next_try_counts_from_the_end_of_the_attempt() -> None:
    assert next_try(1000.0, 1400.0, spread=0) == 1400 + 600


def test_given_up_at_the_limit() -> None:
    limit = timedelta(hours=20)
    assert not is_given_up(0, 20 * 3600 - 1, limit)
    assert is_given_up(0, 20 * 3600, limit)
