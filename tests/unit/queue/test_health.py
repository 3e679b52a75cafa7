"""When failures suspend the store."""

from __future__ import annotations

from pathlib import Path

import pytest

from relevo.queue.health import Health, StoreState
from unit.queue.faults import FaultyDisk, broken


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def make(free: float = 1.0) -> tuple[Health, Clock, FaultyDisk]:
    clock, disk = Clock(), FaultyDisk()
    disk.free = free
    return Health(Path("/"), disk, min_free_space=0.05, clock=clock), clock, disk


@pytest.mark.parametrize(("apart", "suspended"), [(1, True), (599, True), (601, False)])
def test_second_failure_within_ten_minutes_suspends(apart: float, suspended: bool) -> None:
    health, clock, _ = make()
    health.failed()
    assert not health.is_suspended
    clock.now += apart
    health.failed()
    assert health.is_suspended is suspended


def test_a_failure_soon_after_recovery_suspends_again() -> None:
    health, clock, _ = make()
    for _ in range(2):
        health.failed()
    states = [health.is_suspended]
    health.recovered()
    states.append(health.is_suspended)
    clock.now += 10
    health.failed()
    states.append(health.is_suspended)
    assert states == [True, False, True]


def test_space_is_looked_at_once_a_second() -> None:
    health, clock, disk = make(free=0.04)
    looks = [health.is_short_of_space]
    disk.free = 0.5
    for seconds in (0.9, 0.2):
        clock.now += seconds
        looks.append(health.is_short_of_space)
    assert looks == [True, True, False]
    assert disk.calls["free_share"] == 2


def test_space_that_cannot_be_seen_counts_as_short() -> None:
    health, _, disk = make()
    disk.failing["free_share"] = broken()
    assert health.is_short_of_space


def test_a_batch_that_does_not_end_suspends_until_it_does() -> None:
    health, clock, _ = make()
    states = []
    health.began()
    for passed in (30, 1):
        clock.now += passed
        states.append((health.state, health.is_suspended, health.has_failed))
    health.ended()
    states.append((health.state, health.is_suspended, health.has_failed))
    health.began()
    states.append((health.state, health.is_suspended, health.has_failed))
    well = (StoreState.WRITABLE, False, False)
    assert states == [well, (StoreState.STALLED, True, False), well, well]


def test_the_state_says_what_is_wrong() -> None:
    health, _, _ = make(free=0.04)
    states = [health.state]
    for _ in range(2):
        health.failed()
    states.append(health.state)
    assert states == [StoreState.SHORT_OF_SPACE, StoreState.SUSPENDED]
    assert len({state.text for state in StoreState}) == len(StoreState)
