"""Who is found to hang, and when nobody is."""

from __future__ import annotations

import pytest

from relevo.service.heartbeat import HangWatch, Heartbeats

TIMEOUT = 30.0
ROWS = (0, 1)


@pytest.fixture
def beats() -> Heartbeats:
    return Heartbeats(len(ROWS))


def looks(watch: HangWatch, beats: Heartbeats, start: int, end: int, *alive: int) -> set[int]:
    """One look a second, and a beat of those who are alive before each; who was found to hang."""
    found: set[int] = set()
    for second in range(start, end):
        for row in alive:
            beats.beat(row)
        found.update(watch.hanging(ROWS, float(second)))
    return found


def watch_of(beats: Heartbeats, timeout: float = TIMEOUT) -> HangWatch:
    watch = HangWatch(beats, timeout)
    watch.next_look(0.0)
    return watch


def test_who_gives_no_sign_for_the_timeout_hangs(beats: Heartbeats) -> None:
    watch = watch_of(beats)
    assert looks(watch, beats, 1, 31, 0) == set()
    assert looks(watch, beats, 31, 33, 0) == {1}


def test_a_sign_in_time_is_enough(beats: Heartbeats) -> None:
    watch = watch_of(beats)
    for start in range(0, 200, 25):
        assert looks(watch, beats, start, start + 24, 0) == set()
        beats.beat(1)
        assert looks(watch, beats, start + 24, start + 25, 0) == set()


def test_nobody_hangs_when_the_watch_itself_did_not_look(beats: Heartbeats) -> None:
    watch = watch_of(beats)
    assert looks(watch, beats, 1, 25) == set()
    assert looks(watch, beats, 4000, 4029) == set(), "the machine was suspended"
    assert looks(watch, beats, 4029, 4033) == {0, 1}


def test_a_process_that_is_new_in_its_row_has_the_whole_time(beats: Heartbeats) -> None:
    watch = watch_of(beats)
    assert looks(watch, beats, 1, 29, 0) == set()
    watch.start_anew(1)
    assert looks(watch, beats, 29, 58, 0) == set()
    assert looks(watch, beats, 58, 61, 0) == {1}


def test_a_look_that_is_not_due_finds_nothing(beats: Heartbeats) -> None:
    watch = watch_of(beats, timeout=2.0)
    assert watch.next_look(0.0) == 0.5
    assert watch.hanging(ROWS, 0.4) == []
    assert watch.next_look(0.4) == 0.5


def test_without_a_timeout_nobody_hangs(beats: Heartbeats) -> None:
    watch = watch_of(beats, timeout=0.0)
    assert watch.next_look(0.0) is None
    assert looks(watch, beats, 1, 1000) == set()
