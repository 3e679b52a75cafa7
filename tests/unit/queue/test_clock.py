"""Steps of the wall clock are told from time that passes, and move what waits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from relevo.queue.clock import (
    LEAST_STEP,
    Step,
    StepWatch,
    count_from_now,
    is_from_the_future,
    move_waiting,
)
from relevo.queue.database import QueuePaths, connect
from relevo.queue.disk import Disk
from relevo.queue.ids import new_id
from relevo.queue.schedule import HELD_UNTIL
from unit.queue.samples import NOW, delivered, message, opened, run

HOUR, YEAR = 3600.0, 365 * 86400.0
RETRY = 1200.0


class Clocks:
    """The wall's, and one that nobody sets."""

    def __init__(self) -> None:
        self.wall = NOW
        self.steady = 50.0

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


@pytest.mark.parametrize("size", [LEAST_STEP + 1, YEAR, -LEAST_STEP - 1, -YEAR])
def test_a_step_is_seen_once(size: float) -> None:
    clocks = Clocks()
    watch = StepWatch(lambda: clocks.wall, lambda: clocks.steady)
    clocks.pass_by(2.0)
    clocks.wall += size
    step = watch.look()
    assert step is not None
    assert step.size == pytest.approx(size)
    assert (step.now, step.slack) == (clocks.wall, 2.0)
    assert step.before == pytest.approx(NOW + 2.0)
    clocks.pass_by(2.0)
    assert watch.look() is None


def test_time_that_passes_is_no_step_however_much() -> None:
    clocks = Clocks()
    watch = StepWatch(lambda: clocks.wall, lambda: clocks.steady)
    clocks.pass_by(YEAR)  # the machine slept
    clocks.wall += LEAST_STEP - 1  # and its time service corrects the clock
    assert watch.look() is None


@pytest.fixture
def database(tmp_path: Path) -> Iterator[apsw.Connection]:
    """Waiting: one with a retry, one held. Both came ten hours ago."""

    async def put() -> None:
        async with opened(tmp_path) as store:
            for identity, due in (("retried", NOW + RETRY), ("held", HELD_UNTIL)):
                came = replace(message(identity=identity, due=due), created=NOW - 10 * HOUR)
                await store.add(came, lease=False)

    run(put())
    with closing(connect(QueuePaths(tmp_path), Disk())) as connection:
        yield connection


def rows(database: apsw.Connection) -> dict[str, tuple[float, float]]:
    """Created and due by id."""
    found = database.execute("SELECT id, created, due FROM message JOIN unit ON message = id")
    return {str(row[0]): (float(str(row[1])), float(str(row[2]))) for row in found}


@pytest.mark.parametrize("size", [HOUR, YEAR, -HOUR, -YEAR])
def test_what_waits_keeps_its_age_and_its_next_try(database: apsw.Connection, size: float) -> None:
    now = NOW + size
    move_waiting(database, Step(size, now, 0.1))
    created, due = rows(database)["retried"]
    assert created == pytest.approx(now - 10 * HOUR)
    assert due == pytest.approx(now + RETRY)


@pytest.mark.parametrize("size", [YEAR, -YEAR])
def test_what_is_held_stays_held(database: apsw.Connection, size: float) -> None:
    move_waiting(database, Step(size, NOW + size, 0.1))
    assert rows(database)["held"][1] == HELD_UNTIL


@pytest.mark.parametrize("size", [YEAR, -YEAR])
def test_what_came_after_the_step_is_left_alone(
    tmp_path: Path, database: apsw.Connection, size: float
) -> None:
    now = NOW + size

    async def put() -> None:
        async with opened(tmp_path, owner=1) as store:
            came = replace(message(identity="new", due=now + 0.05), created=now - 0.05)
            await store.add(came, lease=False)

    run(put())
    move_waiting(database, Step(size, now, 0.1))
    created, due = rows(database)["new"]
    assert created == now - 0.05
    assert due <= now + 0.05


def test_a_message_from_the_future_counts_from_now_and_is_tried_now(
    database: apsw.Connection,
) -> None:
    start = NOW - YEAR
    count_from_now(database, start)
    assert rows(database) == {"retried": (start, start), "held": (start, HELD_UNTIL)}


def test_what_came_before_the_start_is_as_old_as_it_is(database: apsw.Connection) -> None:
    before = rows(database)
    count_from_now(database, NOW)
    assert rows(database) == before


def test_a_try_that_no_schedule_gave_is_made_now(database: apsw.Connection) -> None:
    """The clock was years ahead when the last try failed, and was set right since."""
    database.execute("UPDATE unit SET due = ? WHERE message = 'retried'", (NOW + 10 * YEAR,))
    count_from_now(database, NOW)
    found = rows(database)
    assert found["retried"] == (NOW - 10 * HOUR, NOW)
    assert found["held"][1] == HELD_UNTIL


def test_a_clock_that_was_set_back_is_noticed_at_start(tmp_path: Path) -> None:
    """By a message or by its history, the newest of which names the time; else nothing is read."""

    async def put() -> None:
        async with opened(tmp_path) as store:
            one, *_ = await store.add(message(identity=new_id(NOW), due=NOW), lease=True)
            assert noticed(NOW - LEAST_STEP - 1)
            assert not noticed(NOW)
            await store.finish(delivered(one))

    def noticed(at: float) -> bool:
        with closing(apsw.Connection(str(tmp_path / "queue.db"))) as database:
            return is_from_the_future(database, at)

    run(put())
    assert not noticed(NOW)


def test_a_try_further_away_than_any_wait_is_noticed_at_start(tmp_path: Path) -> None:
    async def put() -> None:
        async with opened(tmp_path) as store:
            await store.add(message(identity=new_id(NOW), due=NOW + YEAR), lease=False)

    run(put())
    with closing(connect(QueuePaths(tmp_path), Disk())) as database:
        assert is_from_the_future(database, NOW)
        assert not is_from_the_future(database, NOW + YEAR)
