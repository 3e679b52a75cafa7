"""The levels of connections to other domains: they rise, last, and are remembered for a minute."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from relevo.queue import levels_outgoing
from relevo.queue.database import QueuePaths, Transaction, connect, create_database
from relevo.queue.disk import Disk
from relevo.queue.levels import SecurityLevel
from relevo.queue.levels_by_hand import forget_levels, list_levels
from relevo.queue.levels_outgoing import OutgoingLevels

PLAIN, INSECURE, SECURE = SecurityLevel.PLAIN, SecurityLevel.TLS_INSECURE, SecurityLevel.TLS_SECURE


class Database:
    """The writer thread's part, called at once; counts what is asked of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        create_database(directory)
        self.connection = connect(QueuePaths(directory), Disk())
        self.now = 1_800_000_000.0
        self.looks = 0
        self.writes = 0

    def worker(self) -> OutgoingLevels:
        return OutgoingLevels(self._look, self._write, clock=lambda: self.now)

    async def _look(self, work: Callable[[apsw.Connection], object]) -> object:
        self.looks += 1
        return work(self.connection)

    async def _write(self, work: Callable[[apsw.Connection], object]) -> object:
        self.writes += 1
        with Transaction(self.connection):
            return work(self.connection)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path)
    yield made
    made.connection.close()


def test_a_level_rises_and_never_falls(database: Database) -> None:
    async def check() -> None:
        worker = database.worker()
        assert await worker.level("a.test") is PLAIN
        for level, then in (
            (PLAIN, PLAIN),
            (INSECURE, INSECURE),
            (SECURE, SECURE),
            (INSECURE, SECURE),
            (PLAIN, SECURE),
        ):
            await worker.learned("a.test", level)
            assert await worker.level("a.test") is then
            assert await database.worker().level("a.test") is then
        assert await worker.level("b.test") is PLAIN

    asyncio.run(check())


def test_what_stays_as_it_is_costs_nothing(database: Database) -> None:
    async def check() -> None:
        worker = database.worker()
        for _ in range(5):
            await worker.learned("a.test", SECURE)
            await worker.learned("b.test", PLAIN)
        assert (database.looks, database.writes) == (2, 1)
        database.now += 2 * 86400
        await worker.learned("a.test", SECURE)
        assert database.writes == 2, "that it was met is written once a day"

    asyncio.run(check())


def test_what_the_operator_forgot_is_seen_a_minute_later(database: Database) -> None:
    async def check() -> None:
        worker = database.worker()
        await worker.learned("a.test", SECURE)
        (known,) = list_levels(database.directory)
        assert (known.name, known.incoming, known.outgoing, known.seen) == (
            "a.test", 0, SECURE, database.now,
        )  # fmt: skip
        assert forget_levels(database.directory, "a.test")
        assert await worker.level("a.test") is SECURE
        database.now += 61
        assert await worker.level("a.test") is PLAIN

    asyncio.run(check())


def test_memory_is_bounded(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levels_outgoing, "MAX_REMEMBERED", 2)

    async def check() -> None:
        worker = database.worker()
        for name in ("a", "b", "c", "b", "a"):
            await worker.level(name)
        assert database.looks == 4

    asyncio.run(check())
