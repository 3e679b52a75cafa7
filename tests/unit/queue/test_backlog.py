"""Backlogs: what has no room moves out of the way once, and comes back route by route."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import pytest

from relevo.queue import backlog, create_database, open_store
from relevo.queue.database import start_over
from relevo.queue.ids import derived_id
from relevo.queue.leases import as_int
from relevo.queue.sqlite import SqliteStore
from relevo.queue.store import NewMessage, Room, Unit, UnitResult
from unit.queue.samples import NOW, message, run

SLOW, FAST = "mx:slow.test", "mx:fast.test"


@asynccontextmanager
async def opened(directory: Path, owner: int = 0) -> AsyncIterator[SqliteStore]:
    create_database(directory)
    store = open_store(directory, owner=owner, loop=asyncio.get_running_loop())
    try:
        yield store
    finally:
        await store.close()


def room(
    most: int = 1000,
    *,
    other: int = 1000,
    worker_for: Callable[[str], int] | None = None,
    of: Mapping[str, int] | None = None,
) -> Room:
    """Room for routes by name, and `other` for each of the rest."""
    by_route = of or {}
    return Room(most, by_route, {"mx": other}, other, worker_for=worker_for)


def resting(late_before: float) -> Room:
    """SLOW takes only what came before, everybody else takes all."""
    return Room(
        1000, {SLOW: 1000}, {"mx": 1000}, resting=frozenset({SLOW}), late_before=late_before
    )


async def fill(store: SqliteStore, counts: Mapping[str, int]) -> None:
    news: list[NewMessage] = []
    for route, count in counts.items():
        news += [message(due=NOW - 1, routes=(route,)) for _ in range(count)]
    await asyncio.gather(*(store.add(new, lease=False) for new in news))


def owners(directory: Path) -> Counter[tuple[str, int | None]]:
    connection = apsw.Connection(str(directory / "queue.db"))
    rows = connection.execute("SELECT route, owner FROM unit").fetchall()
    connection.close()
    return Counter((str(route), None if owner is None else as_int(owner)) for route, owner in rows)


def routes(units: tuple[Unit, ...]) -> Counter[str]:
    return Counter(unit.route for unit in units)


async def give_back(store: SqliteStore, units: tuple[Unit, ...]) -> None:
    await asyncio.gather(*(store.finish(UnitResult(unit, (), None)) for unit in units))


def test_what_has_no_room_leaves_the_index_of_due_units(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path) as store:
            await fill(store, {SLOW: 30, FAST: 5})
            leased = await store.lease_in(room(of={SLOW: 3}), now=NOW)
            assert routes(leased.units) == {SLOW: 3, FAST: 5}
            assert not leased.is_more
            assert leased.full == {SLOW}
            assert await store.next_due() is None
        assert owners(tmp_path) == {(SLOW, 0): 3, (SLOW, -1): 27, (FAST, 0): 5}

    run(check())


def test_a_backlog_is_leased_as_room_appears_oldest_first(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path) as store:
            await fill(store, {SLOW: 10})
            first = await store.lease_in(room(of={SLOW: 4}), now=NOW)
            assert (await store.lease_in(room(of={SLOW: 0}), now=NOW)).units == ()
            second = await store.lease_in(room(of={SLOW: 4}), now=NOW)
            third = await store.lease_in(room(of={SLOW: 4}), now=NOW)
            assert [len(each.units) for each in (first, second, third)] == [4, 4, 2]
            found = [unit.message_id for unit in (*second.units, *third.units)]
            assert found == sorted(found)

    run(check())


@pytest.mark.parametrize("is_in_backlog", [False, True])
def test_of_a_route_that_rests_only_what_is_late_is_taken(
    tmp_path: Path, is_in_backlog: bool
) -> None:
    async def check() -> None:
        async with opened(tmp_path) as store:
            old, young = derived_id(NOW - 7200, b"a"), derived_id(NOW - 60, b"b")
            for identity in (young, old):
                await store.add(
                    message(identity=identity, due=NOW - 1, routes=(SLOW, FAST)), lease=False
                )
            if is_in_backlog:
                await store.lease_in(room(0), now=NOW)
            leased = await store.lease_in(resting(NOW - 3600), now=NOW)
            assert routes(leased.units) == {SLOW: 1, FAST: 2}
            assert {unit.message_id for unit in leased.units if unit.route == SLOW} == {old}
            assert leased.full == {SLOW}
            assert len((await store.lease_in(room(), now=NOW)).units) == 1

    run(check())


def test_of_a_route_that_rests_what_seems_to_come_from_the_future_is_taken(tmp_path: Path) -> None:
    """The clock was a year ahead when it came: its id tells nothing of its age."""

    async def check() -> None:
        async with opened(tmp_path) as store:
            identity = derived_id(NOW + 365 * 86400, b"a")
            await store.add(message(identity=identity, due=NOW - 1, routes=(SLOW,)), lease=False)
            assert len((await store.lease_in(resting(NOW - 3600), now=NOW)).units) == 1

    run(check())


def test_routes_have_turns_when_the_whole_room_is_small(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path) as store:
            await fill(store, {f"mx:d{number}.test": 4 for number in range(5)})
            await store.lease_in(room(0), now=NOW)
            seen: Counter[str] = Counter()
            for _ in range(10):
                leased = await store.lease_in(room(2, other=1), now=NOW)
                seen += routes(leased.units)
            assert set(seen.values()) == {4}

    run(check())


def test_units_of_another_worker_wait_for_that_one(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path) as one, opened(tmp_path, 1) as two:
            await fill(one, {SLOW: 2, FAST: 3})
            serves = {SLOW: 1, FAST: 0}
            leased = await one.lease_in(room(worker_for=serves.__getitem__), now=NOW)
            assert routes(leased.units) == {FAST: 3}
            assert leased.others == {1}
            theirs = await two.lease_in(room(worker_for=serves.__getitem__), now=NOW)
            assert routes(theirs.units) == {SLOW: 2}

    run(check())


def test_an_added_message_is_leased_where_its_routes_have_room(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path) as store:
            new = message(routes=("local", SLOW, FAST))
            places = {"local": None, SLOW: 0, FAST: 1}
            units = await store.add(new, lease=True, place=places.__getitem__)
            assert [unit.route for unit in units] == ["local"]
            later = await store.lease_in(room(), now=NOW)
            assert routes(later.units) == {SLOW: 1}
            assert later.units[0].number == 1
        assert owners(tmp_path)[FAST, -2] == 1

    run(check())


def test_a_round_is_bounded_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "MOST_STEPS", 3)

    async def check() -> None:
        async with opened(tmp_path) as store:
            await fill(store, {f"mx:d{number}.test": 1 for number in range(10)})
            await store.lease_in(room(0, other=0), now=NOW)
            full = {f"mx:d{number}.test": 0 for number in range(9)}
            rounds = [await store.lease_in(room(of=full), now=NOW) for _ in range(5)]
            assert rounds[0].is_more
            assert sum(len(each.units) for each in rounds) == 1

    run(check())


def test_rounds_end_when_none_of_very_many_routes_has_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "MOST_STEPS", 5)
    names = [f"mx:{number:02}.test" for number in range(23)]

    async def scenario() -> None:
        async with opened(tmp_path) as store:
            await fill(store, dict.fromkeys(names, 2))
            assert routes((await store.lease_in(room(3, other=1), now=NOW)).units).total() == 3
            seen = set[str]()
            rounds, is_more = 0, True
            while is_more and rounds < 8:
                leased = await store.lease_in(room(other=0), now=NOW)
                seen |= leased.full
                rounds, is_more = rounds + 1, leased.is_more
            assert not is_more
            assert seen >= set(names)

            found = Counter[str]()
            is_more = True
            while is_more:  # and what has room is found, wherever the last way around ended
                leased = await store.lease_in(room(of={names[7]: 9}, other=0), now=NOW)
                found += routes(leased.units)
                is_more = leased.is_more
            assert found.keys() == {names[7]}

    run(scenario())


def test_a_kind_without_any_room_is_passed_by_in_one_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "MOST_STEPS", 4)

    async def check() -> None:
        async with opened(tmp_path) as store:
            await fill(store, {f"mx:d{number}.test": 2 for number in range(10)})
            await fill(store, {"via:x": 1})
            await store.lease_in(room(0), now=NOW)
            closed = Room(100, {}, {"via": 1}, closed=frozenset({"mx"}))
            leased = await store.lease_in(closed, now=NOW)
            assert routes(leased.units) == {"via:x": 1}
            assert not leased.is_more

    run(check())


@pytest.mark.parametrize(("workers", "kept"), [(1, {-1, None}), (2, {-1, -2})])
def test_backlogs_outlive_a_restart_for_workers_that_there_still_are(
    tmp_path: Path, workers: int, kept: set[int | None]
) -> None:
    async def check() -> None:
        async with opened(tmp_path) as store:
            await fill(store, {SLOW: 3, FAST: 3})
            serves = {SLOW: 0, FAST: 1}
            await store.lease_in(room(other=0, worker_for=serves.__getitem__), now=NOW)

    run(check())
    start_over(tmp_path, NOW, tries_all=False, workers=workers)
    assert {owner for _, owner in owners(tmp_path)} == kept


def test_a_start_that_tries_all_empties_the_backlogs(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path) as store:
            await fill(store, {SLOW: 3})
            await store.lease_in(room(other=0), now=NOW)

    run(check())
    start_over(tmp_path, NOW)
    assert owners(tmp_path) == {(SLOW, None): 3}


def test_looks_use_the_indexes(tmp_path: Path) -> None:
    create_database(tmp_path)
    connection = apsw.Connection(str(tmp_path / "queue.db"))
    for sql, values, index in (
        (backlog._DUE, (NOW, 9), "unit_due"),
        (backlog._WAITING, (-1, "", "", 0, 9), "unit_backlog"),
    ):
        plan = str(connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall())
        assert index in plan
        assert "TEMP B-TREE" not in plan
    connection.close()
