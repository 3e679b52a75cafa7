"""How many notifications one address gets."""

from __future__ import annotations

import pytest

from relevo.delivery.notice_limits import MOST_ADDRESSES, NoticeLimits

ADA = "ada@example.org"


def test_each_minute_brings_new_ones_and_says_what_was_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    limits = NoticeLimits(3)
    assert [limits.admits(ADA, 100.0 + second) for second in range(5)] == [True] * 3 + [False] * 2
    assert limits.admits(ADA, 161.0)
    assert caplog.records[-1].getMessage() == f"2 more DSNs to {ADA} were left out"


def test_workers_share_the_limit_and_each_has_one_at_least() -> None:
    assert [NoticeLimits(10, 4).admits(ADA, 0.0) for _ in range(1)] == [True]
    quarter = NoticeLimits(10, 4)
    assert [quarter.admits(ADA, 0.0) for _ in range(3)] == [True, True, False]
    assert NoticeLimits(1, 4).admits(ADA, 0.0)


def test_no_limit_is_none() -> None:
    limits = NoticeLimits(0)
    assert all(limits.admits(ADA, 0.0) for _ in range(1000))


def test_a_clock_that_is_set_back_locks_nobody_out() -> None:
    limits = NoticeLimits(1)
    assert limits.admits(ADA, 1000.0)
    assert limits.admits(ADA, 10.0)


def test_memory_is_bounded() -> None:
    limits = NoticeLimits(1)
    for number in range(2 * MOST_ADDRESSES):
        limits.admits(f"{number}@example.org", 0.0)
    assert len(limits._counts) == MOST_ADDRESSES
