"""What senders wish: order in a backlog, a last moment, and a first one."""

from __future__ import annotations

import asyncio
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from relevo.queue.backlog import _EXPIRED, _WAITING
from relevo.queue.clock import Step, count_from_now, is_from_the_future, move_waiting
from relevo.queue.database import QueuePaths, connect, start_over
from relevo.queue.disk import Disk
from relevo.queue.ids import derived_id
from relevo.queue.loading import Loader
from relevo.queue.reading import open_reader
from relevo.queue.store import MessageId, NewMessage, Room, Unit, Wishes
from relevo.queue.transfer import read_message, write_message
from relevo.queue.wishes import AHEAD_S, put_back
from unit.queue.samples import NOW, deferred, message, opened, run

ROUTE = "mx:slow.test"
HOUR = 3600.0
FULL = Room(100, {ROUTE: 0}, {"mx": 0})


def wishing(name: str, wishes: Wishes | None, *, at: float = NOW, due: float = NOW) -> NewMessage:
    """A message that came `at`."""
    new = message(identity=derived_id(at, name.encode()), routes=(ROUTE,), due=due)
    return replace(new, created=at, envelope=replace(new.envelope, wishes=wishes))


def columns(directory: Path) -> dict[str, tuple[object, ...]]:
    """place, expires, hold and due of the unit of each message."""
    with closing(connect(QueuePaths(directory), Disk())) as database:
        rows = database.execute("SELECT message, place, expires, hold, due FROM unit").fetchall()
    return {str(row[0]): row[1:] for row in rows}


def test_the_urgent_go_first_and_nothing_waits_for_ever(tmp_path: Path) -> None:
    low = wishing("low", Wishes(priority=-9))
    ordinary = [wishing(f"ordinary {n}", None, at=NOW + n) for n in range(8)]
    high = wishing("high", Wishes(priority=9), at=NOW + HOUR)
    late = wishing("late", None, at=NOW + 9 * AHEAD_S + 1)

    async def check() -> list[Unit]:
        async with opened(tmp_path) as store:
            for new in (low, late, *reversed(ordinary), high):
                await store.add(new, lease=False)
            now = NOW + 3 * HOUR
            assert not (await store.lease_in(FULL, now=now)).units
            found: list[Unit] = []
            while units := (await store.lease_in(Room(1, {ROUTE: 1}, {}), now=now)).units:
                (unit,) = units
                found.append(unit)
                await store.finish(deferred(unit, now + HOUR))
            return found

    order = [unit.message_id for unit in run(check())]
    assert order == [high.id, *(new.id for new in ordinary), low.id, late.id]


def test_what_is_not_wished_for_any_more_is_looked_at_without_room(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path) as store:
            new = wishing("timed", Wishes(deliver_by=60.0, returns=True))
            await store.add(new, lease=False)
            await store.add(wishing("other", None), lease=False)
            assert not (await store.lease_in(FULL, now=NOW + 59)).units
            (unit,) = (await store.lease_in(FULL, now=NOW + 61)).units
            assert (unit.message_id, unit.deadline) == (new.id, NOW + 60)
            await store.finish(deferred(unit, NOW + 62))
            assert not (await store.lease_in(FULL, now=NOW + 70)).units  # once

    run(check())


def test_a_held_message_is_not_due_before_and_its_age_begins_then(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path) as store:
            new = wishing("later", Wishes(hold=HOUR), due=NOW + HOUR)
            assert await store.add(new, lease=False) == ()
            assert await store.lease(now=NOW + HOUR - 1, limit=9) == ()
            (unit,) = await store.lease(now=NOW + HOUR, limit=9)
            assert unit.since == NOW + HOUR

    run(check())


def held(directory: Path, wishes: Wishes, due: float) -> str:
    new = wishing("held", wishes, due=due)

    async def put() -> None:
        async with opened(directory) as store:
            await store.add(new, lease=False)

    run(put())
    return new.id


def test_a_start_that_tries_all_lets_nothing_go_that_its_sender_holds(tmp_path: Path) -> None:
    held(tmp_path, Wishes(hold=HOUR), NOW + HOUR)
    start_over(tmp_path, NOW + 5)
    assert [row[-1] for row in columns(tmp_path).values()] == [NOW + HOUR]


def test_an_operator_lets_it_go_at_once_and_only_when_it_is_meant(tmp_path: Path) -> None:
    identity = held(tmp_path, Wishes(hold=HOUR), NOW + HOUR)
    with open_reader(tmp_path, clock=lambda: NOW + 10) as reader:
        assert reader.retry([identity], even_held=False) == 0
        assert reader.release([identity]) == 1
        found = reader.message(identity)
    assert found is not None
    assert found.units[0][1] == NOW + 10
    assert found.envelope.wishes == Wishes(hold=10.0)


@pytest.mark.parametrize("size", [2 * HOUR, -2 * HOUR, 300 * 86400.0])
@pytest.mark.parametrize(
    ("is_date", "hold"), [(False, HOUR), (False, 86400.0), (True, HOUR), (True, 86400.0)]
)
def test_an_interval_moves_with_the_clock_and_a_date_does_not(
    tmp_path: Path, size: float, is_date: bool, hold: float
) -> None:
    wishes = Wishes(deliver_by=2 * hold, hold=hold, is_date=is_date)
    held(tmp_path, wishes, NOW + hold)
    with closing(connect(QueuePaths(tmp_path), Disk())) as database:
        move_waiting(database, Step(size, NOW + 1 + size, 0.1))
    ((_, expires, _, due),) = columns(tmp_path).values()
    assert due == (NOW + hold if is_date else NOW + hold + size)
    assert expires == NOW + 2 * hold + size


def test_a_hold_of_days_makes_no_start_read_the_queue(tmp_path: Path) -> None:
    held(tmp_path, Wishes(hold=5 * 86400.0, is_date=True), NOW + 5 * 86400)
    with closing(connect(QueuePaths(tmp_path), Disk())) as database:
        assert not is_from_the_future(database, NOW)


def test_after_a_clock_of_the_future_an_interval_is_waited_for_from_now(tmp_path: Path) -> None:
    held(tmp_path, Wishes(hold=HOUR), NOW + HOUR)
    now = NOW - 90 * 86400
    with closing(connect(QueuePaths(tmp_path), Disk())) as database:
        count_from_now(database, now)
    assert [row[-1] for row in columns(tmp_path).values()] == [now + HOUR]


def test_a_message_in_files_keeps_its_wishes(tmp_path: Path) -> None:
    wishes = Wishes(deliver_by=2 * HOUR, returns=True, hold=HOUR, priority=3)
    identity = held(tmp_path / "one", wishes, NOW + HOUR)
    (tmp_path / "files").mkdir()
    with open_reader(tmp_path / "one") as reader:
        found, content = reader.message(identity), reader.content(MessageId(identity))
        assert found is not None
        assert content is not None
        path = write_message(found, content, tmp_path / "files", now=NOW)
    run(empty(tmp_path / "two"))
    with Loader(tmp_path / "two") as loader:
        loader.load([read_message(path)])
    assert columns(tmp_path / "two") == columns(tmp_path / "one")


async def empty(directory: Path) -> None:
    async with opened(directory):
        await asyncio.sleep(0)


def test_a_repair_puts_the_columns_back(tmp_path: Path) -> None:
    held(tmp_path, Wishes(deliver_by=2 * HOUR, hold=HOUR, priority=3), NOW + HOUR)
    before = columns(tmp_path)
    with closing(connect(QueuePaths(tmp_path), Disk())) as database:
        database.execute("UPDATE unit SET place = NULL, expires = NULL, hold = NULL, due = 0")
        put_back(database)
    assert columns(tmp_path) == before


def test_the_backlog_is_read_by_its_index(tmp_path: Path) -> None:
    run(empty(tmp_path))
    with closing(apsw.Connection(str(tmp_path / "queue.db"))) as database:
        plan = str(
            database.execute(f"EXPLAIN QUERY PLAN {_WAITING}", (-1, "a", "b", 1, 32)).fetchall()
        )
        expiry = str(database.execute(f"EXPLAIN QUERY PLAN {_EXPIRED}", (1.0, -1, 50)).fetchall())
    assert "USING INDEX unit_backlog (owner=? AND (route,sequence,number)>(?,?,?))" in plan
    assert "TEMP B-TREE" not in plan
    assert "unit_expires" in expiry
