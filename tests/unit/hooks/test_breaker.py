"""The circuit breaker, by a clock of our own."""

from __future__ import annotations

from relevo.hooks.breaker import Breaker


def opened(failures: int = 3, pause_s: float = 10.0) -> Breaker:
    breaker = Breaker(failures, pause_s)
    for now in range(failures):
        assert breaker.allows(now, "file")
        breaker.report(now, failed=True)
    return breaker


def test_opens_after_failures_in_a_row() -> None:
    breaker = Breaker(2, 10.0)
    assert breaker.allows(0, "file")
    assert not breaker.report(0, failed=True)
    assert breaker.allows(0, "file")
    assert breaker.report(0, failed=True)
    assert breaker.is_open
    assert not breaker.allows(1, "file")


def test_a_success_between_starts_the_count_anew() -> None:
    breaker = Breaker(2, 10.0)
    for failed in (True, False, True):
        assert breaker.allows(0, "file")
        breaker.report(0, failed=failed)
    assert not breaker.is_open


def test_one_trial_after_the_pause() -> None:
    breaker = opened()
    assert not breaker.allows(11, "file")
    assert breaker.allows(12, "file")
    assert not breaker.allows(12, "file")


def test_trial_that_succeeds_closes() -> None:
    breaker = opened()
    assert breaker.allows(12, "file")
    breaker.report(12, failed=False)
    assert not breaker.is_open
    assert breaker.allows(12, "file")


def test_trial_that_fails_opens_for_another_pause() -> None:
    breaker = opened()
    assert breaker.allows(12, "file")
    assert not breaker.report(13, failed=True)
    assert not breaker.allows(22, "file")
    assert breaker.allows(23, "file")


def test_trial_that_said_nothing_may_be_repeated() -> None:
    breaker = opened()
    assert breaker.allows(12, "file")
    breaker.forget()
    assert breaker.allows(12, "file")


def test_another_file_closes() -> None:
    breaker = opened()
    assert breaker.allows(2, "edited")
    assert not breaker.is_open


def test_0_failures_never_opens() -> None:
    breaker = Breaker(0, 10.0)
    for _ in range(100):
        assert breaker.allows(0, "file")
        assert not breaker.report(0, failed=True)
