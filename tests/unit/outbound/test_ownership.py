"""Who serves which next hop: everybody comes to the same result, and little changes hands."""

from __future__ import annotations

from collections import Counter

import pytest

from relevo.outbound.ownership import LOOK_EVERY_S, Ownership, owners_of_each

ROUTES = [f"mx:d{number}.test" for number in range(400)]


class World:
    """Live workers, and a clock."""

    def __init__(self, *rows: int) -> None:
        self.rows = set(rows)
        self.now = 0.0

    def worker(self, row: int, owners: int = 1) -> Ownership:
        return Ownership(
            row,
            lambda: owners,
            lambda: {each: 1000 + each for each in self.rows},
            clock=lambda: self.now,
        )


@pytest.mark.parametrize(
    ("limit", "workers", "owners"), [(1, 8, 1), (20, 2, 2), (20, 64, 2), (100, 4, 4), (15, 2, 1)]
)
def test_an_owner_has_ten_connections_at_least(limit: int, workers: int, owners: int) -> None:
    assert owners_of_each(limit, workers) == owners


def test_all_workers_agree_and_share_the_routes() -> None:
    world = World(0, 1, 2, 3)
    views = [world.worker(row) for row in world.rows]
    served: Counter[int] = Counter()
    for route in ROUTES:
        (owner,) = {view.worker_for(route) for view in views}
        served[owner] += 1
    assert set(served) == world.rows
    assert min(served.values()) > 50


def test_an_owner_keeps_what_it_accepts_and_others_hand_over() -> None:
    world = World(0, 1, 2, 3)
    for route in ROUTES[:50]:
        serving = {world.worker(row, owners=2).worker_for(route) for row in world.rows}
        assert len(serving) == 2
        for row in serving:
            assert world.worker(row, owners=2).worker_for(route) == row


def test_when_a_worker_is_gone_only_what_it_had_changes_hands() -> None:
    world = World(0, 1, 2, 3)
    view = world.worker(0)
    before = {route: view.worker_for(route) for route in ROUTES}
    world.rows.discard(2)
    assert {route: view.worker_for(route) for route in ROUTES} == before, "not looked yet"
    world.now += LOOK_EVERY_S
    for route in ROUTES:
        if before[route] == 2:
            assert view.worker_for(route) != 2
        else:
            assert view.worker_for(route) == before[route]


@pytest.mark.parametrize("route", ["local", "pipe"])
def test_local_deliveries_stay_where_they_are(route: str) -> None:
    world = World(0, 1)
    assert [world.worker(row).worker_for(route) for row in (0, 1)] == [0, 1]


def test_a_worker_that_is_alone_serves_all() -> None:
    world = World()
    assert {world.worker(1).worker_for(route) for route in ROUTES} == {1}
