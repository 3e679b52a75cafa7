"""The circuit breaker, by a clock of our own."""

from __future__ import annotations

import os
from collections.abc import Callable

from relevo.hooks.breaker import Breaker, BreakerTable


def new(failures: int, pause_s: float) -> Breaker:
    return BreakerTable().breaker("hooks/post-data", failures, pause_s)


def opened(failures: int = 3, pause_s: float = 10.0) -> Breaker:
    breaker = new(failures, pause_s)
    for now in range(failures):
        assert breaker.allows(now, "file")
        breaker.report(now, failed=True)
    return breaker


def test_opens_after_failures_in_a_row() -> None:
    breaker = new(2, 10.0)
    assert breaker.allows(0, "file")
    assert not breaker.report(0, failed=True)
    assert breaker.allows(0, "file")
    assert breaker.report(0, failed=True)
    assert breaker.is_open
    assert not breaker.allows(1, "file")


def test_a_success_between_starts_the_count_anew() -> None:
    breaker = new(2, 10.0)
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
    breaker = new(0, 10.0)
    for _ in range(100):
        assert breaker.allows(0, "file")
        assert not breaker.report(0, failed=True)


def in_another_process(do: Callable[[], object]) -> None:
    """What another worker does, to its end."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            do()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def fail(breaker: Breaker) -> None:
    assert breaker.allows(0, "file")
    breaker.report(0, failed=True)


def test_failures_of_all_processes_count_together() -> None:
    breaker = new(2, 10.0)
    fail(breaker)
    in_another_process(lambda: fail(breaker))
    assert breaker.is_open
    assert not breaker.allows(1, "file")


def test_one_trial_for_all_processes() -> None:
    breaker = opened()
    assert breaker.allows(12, "file")

    def is_refused() -> None:
        assert not breaker.allows(12, "file")

    in_another_process(is_refused)
    breaker.report(12, failed=False)
    in_another_process(lambda: fail(breaker))
    assert not breaker.is_open


def test_trial_of_a_process_that_died_is_made_by_another() -> None:
    breaker = opened()

    def is_allowed() -> None:
        assert breaker.allows(12, "file")

    in_another_process(is_allowed)
    assert breaker.allows(12, "file")


def test_hooks_do_not_share_a_breaker() -> None:
    table = BreakerTable()
    first, second = (table.breaker(name, 1, 10.0) for name in ("a", "b"))
    fail(first)
    assert not first.allows(1, "file")
    assert second.allows(1, "file")
    second.report(1, failed=False)
    assert first.is_open


def test_more_hooks_than_rows_do_not_stop_calls() -> None:
    table = BreakerTable(rows=2)
    breakers = [table.breaker(str(number), 2, 10.0) for number in range(5)]
    for breaker in breakers:
        assert breaker.allows(0, "file")
        assert not breaker.report(0, failed=True)
    assert not any(breaker.is_open for breaker in breakers)
