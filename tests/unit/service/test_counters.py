"""Counters add up over workers."""

from relevo.journal import Accepted, Attempted, Authenticated, Outcome, Rejected
from relevo.service.counters import Counters

ACCEPTED = Accepted(0.0, "id", "127.0.0.1:1", "<>", ("a@b.test",), 10)
REJECTED = Rejected(0.0, "127.0.0.1:1", None, (), 500, "5.5.1", "no")


def attempted(outcome: Outcome) -> Attempted:
    return Attempted(0.0, "id", "<>", "a@b.test", "a@b.test", outcome, "local")


def test_events_count_by_kind_and_workers_are_added_up() -> None:
    counters = Counters(2)
    counters.count(0, ACCEPTED)
    counters.count(1, ACCEPTED)
    counters.count(1, REJECTED)
    counters.count(0, attempted(Outcome.DELIVERED))
    counters.count(0, attempted(Outcome.TEMPORARY))
    counters.count(0, attempted(Outcome.PERMANENT))
    counters.count(0, Authenticated(0.0, "127.0.0.1:1", "u@d.test", succeeded=True))
    counters.count(0, Authenticated(0.0, "127.0.0.1:1", "u@d.test", succeeded=False))
    sums = counters.read()
    assert sums["accepted"] == 2
    assert sums["rejected"] == sums["delivered"] == sums["deferred"] == sums["failed"] == 1
    assert sums["logins"] == sums["failed_logins"] == 1
    assert counters.read_row(1)["accepted"] == 1


def test_the_loop_lag_is_the_largest_of_all() -> None:
    counters = Counters(2)
    counters.raise_to(0, "loop_held_us", 300)
    counters.raise_to(0, "loop_held_us", 100)
    counters.raise_to(1, "loop_held_us", 200)
    assert counters.read()["loop_held_us"] == 300
