"""Security levels that come from elsewhere, and levels that are forgotten."""

from __future__ import annotations

from pathlib import Path

from relevo.queue.database import QueuePaths, connect, create_database
from relevo.queue.disk import Disk
from relevo.queue.levels_by_hand import KnownLevels, forget_levels, raise_levels
from unit.queue.samples import NOW


def levels(queue: Path) -> list[tuple[object, ...]]:
    connection = connect(QueuePaths(queue), Disk())
    try:
        return connection.execute("SELECT name, incoming, outgoing, seen FROM domain").fetchall()
    finally:
        connection.close()


def test_levels_only_rise(tmp_path: Path) -> None:
    create_database(tmp_path)
    assert raise_levels(tmp_path, [KnownLevels("r.test", 1, 2)], now=NOW) == 1
    raise_levels(tmp_path, [KnownLevels("r.test", 0, 3)], now=NOW - 1)
    assert levels(tmp_path) == [("r.test", 1, 3, NOW)]


def test_a_forgotten_domain_has_no_row(tmp_path: Path) -> None:
    create_database(tmp_path)
    raise_levels(tmp_path, [KnownLevels("r.test", 1, 2)], now=NOW)
    assert not forget_levels(tmp_path, "other.test")
    assert forget_levels(tmp_path, "r.test")
    assert levels(tmp_path) == []
    assert not forget_levels(tmp_path, "r.test")
