"""Security levels of domains: they rise, last, and are bounded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import pytest

from relevo.queue import levels
from relevo.queue.database import QueuePaths, Transaction, connect, create_database
from relevo.queue.disk import Disk
from relevo.queue.levels import MAX_AGE, DomainLevels, SecurityLevel, forget, oldest_kept
from relevo.queue.store import StoreFailed
from unit.queue.samples import opened, run, until

PLAIN, TLS = SecurityLevel.PLAIN, SecurityLevel.TLS_CLIENT
DAY = 86400.0


class Database:
    """The writer thread's part, called at once; counts what is asked of it."""

    def __init__(self, directory: Path) -> None:
        create_database(directory)
        self.connection = connect(QueuePaths(directory), Disk())
        self.now = 1_800_000_000.0
        self.looks = 0
        self.writes = 0

    def worker(self) -> DomainLevels:
        return DomainLevels(self._look, self._write, clock=lambda: self.now)

    async def _look(self, work: Callable[[apsw.Connection], object]) -> object:
        self.looks += 1
        return work(self.connection)

    async def _write(self, work: Callable[[apsw.Connection], object]) -> object:
        self.writes += 1
        with Transaction(self.connection):
            return work(self.connection)

    def domains(self) -> list[str]:
        return [str(row[0]) for row in self.connection.execute("SELECT name FROM domain")]


@asynccontextmanager
async def database(directory: Path) -> AsyncIterator[Database]:
    made = Database(directory)
    try:
        yield made
    finally:
        made.connection.close()


def test_a_level_rises_and_never_falls(tmp_path: Path) -> None:
    async def check() -> None:
        async with database(tmp_path) as db:
            worker = db.worker()
            seen = [await worker.raise_incoming("a.test", level) for level in (PLAIN, TLS, PLAIN)]
            assert seen == [PLAIN, TLS, TLS]
            assert await worker.raise_incoming("b.test", PLAIN) is PLAIN

    run(check())


def test_another_worker_knows_what_one_saw(tmp_path: Path) -> None:
    async def check() -> None:
        async with database(tmp_path) as db:
            one, two = db.worker(), db.worker()
            await two.raise_incoming("a.test", TLS)
            assert await one.raise_incoming("a.test", PLAIN) is TLS

    run(check())


def test_that_a_domain_has_no_level_is_believed_for_ten_seconds(tmp_path: Path) -> None:
    async def check() -> None:
        async with database(tmp_path) as db:
            one, two = db.worker(), db.worker()
            assert [await one.raise_incoming("a.test", PLAIN) for _ in range(3)] == [PLAIN] * 3
            assert db.looks == 1
            await two.raise_incoming("a.test", TLS)
            db.now += 10
            assert await one.raise_incoming("a.test", PLAIN) is TLS

    run(check())


def test_the_worker_that_saw_a_level_holds_the_next_mail_to_it(tmp_path: Path) -> None:
    async def check() -> None:
        async with database(tmp_path) as db:
            worker = db.worker()
            seen = [await worker.raise_incoming("a.test", level) for level in (PLAIN, TLS, PLAIN)]
            assert seen == [PLAIN, TLS, TLS]

    run(check())


def test_a_domain_in_clear_text_leaves_no_row(tmp_path: Path) -> None:
    async def check() -> None:
        async with database(tmp_path) as db:
            await db.worker().raise_incoming("a.test", PLAIN)
            assert (db.domains(), db.writes) == ([], 0)

    run(check())


def test_mail_at_the_best_level_costs_nothing_but_once_a_day(tmp_path: Path) -> None:
    async def check() -> None:
        async with database(tmp_path) as db:
            worker = db.worker()
            for _ in range(3):
                await worker.raise_incoming("a.test", TLS)
            assert (db.looks, db.writes) == (1, 1)
            await db.worker().raise_incoming("a.test", TLS)  # a new worker has to look
            assert (db.looks, db.writes) == (2, 1)
            db.now += DAY
            await worker.raise_incoming("a.test", TLS)
            assert (db.looks, db.writes) == (3, 2)
            assert oldest_kept(db.connection, db.now, most=1) == db.now

    run(check())


def test_the_memory_of_a_worker_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levels, "_KEPT", 2)

    async def check() -> None:
        async with database(tmp_path) as db:
            worker = db.worker()
            for domain in ("a.test", "b.test", "a.test", "c.test", "a.test"):
                await worker.raise_incoming(domain, TLS)
            assert db.looks == 3
            await worker.raise_incoming("b.test", TLS)  # the one not met for longest had to go
            assert db.looks == 4

    run(check())


def test_what_is_too_old_or_too_much_is_forgotten_oldest_first(tmp_path: Path) -> None:
    async def check() -> None:
        async with database(tmp_path) as db:
            for domain in ("old.test", "a.test", "b.test", "c.test"):
                await db.worker().raise_incoming(domain, TLS)
                db.now += MAX_AGE if domain == "old.test" else 1.0
            oldest = oldest_kept(db.connection, db.now)
            assert [forget(db.connection, oldest, batch=10) for _ in range(2)] == [1, 0]
            oldest = oldest_kept(db.connection, db.now, most=1)
            assert [forget(db.connection, oldest, batch=1) for _ in range(3)] == [1, 1, 0]
            assert db.domains() == ["c.test"]

    run(check())


def test_a_level_lasts_beyond_the_store(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path) as store:
            assert await store.raise_incoming_level("a.test", TLS) is TLS
        async with opened(tmp_path, owner=1) as store:
            assert await store.raise_incoming_level("a.test", PLAIN) is TLS
        with pytest.raises(StoreFailed):
            await store.raise_incoming_level("a.test", PLAIN)

    run(check())


def test_the_running_server_forgets(tmp_path: Path) -> None:
    create_database(tmp_path)
    connection = connect(QueuePaths(tmp_path), Disk())
    connection.execute("INSERT INTO domain VALUES ('a.test', 1, 0, 0.0)")

    async def check() -> None:
        async with opened(tmp_path, checkpoints=True):
            await until(lambda: not connection.execute("SELECT 1 FROM domain").fetchall())

    run(check())
    connection.close()
