"""Whatever happens all the time reads a few rows, however many wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw
import pytest

from relevo.queue.commit import Adding, Batch, NewRows
from relevo.queue.database import QueuePaths, Transaction, connect, create_database, start_over
from relevo.queue.disk import Disk
from relevo.queue.ids import new_id
from relevo.queue.quarantine import VALUES
from relevo.queue.reading import open_reader
from relevo.queue.records import encode
from relevo.queue.store import Envelope, Room
from unit.queue.samples import NOW, deferred, delivered, message, opened, recipient, run

MANY = 20_000
ROUTES = 100
LATER = NOW + 3600
ROOM = Room(100, {}, {"mx": 10}, 0)


@pytest.fixture(scope="module")
def queue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Many messages that wait for their time, and as many that wait for room."""
    data = tmp_path_factory.mktemp("queue")
    create_database(data)
    envelope, recipients = encode(Envelope("a@b.test")), encode((recipient(),))
    batch = Batch(0)
    with asyncio.Runner() as runner:
        future = runner.get_loop().create_future()
    for number in range(MANY):
        identity = new_id(NOW)
        owner = -1 if number % 2 else None
        unit = (identity, 0, f"mx:d{number % ROUTES}.test", LATER, 0, owner, recipients)
        row = (identity, NOW, 10, envelope, b"0123456789", None, None)
        batch.gather(Adding(future, NewRows(row, [unit], [], None), False), lambda *_: ("", 0))
    with closing(connect(QueuePaths(data), Disk())) as database, Transaction(database):
        batch.execute(database)
    return data


@contextmanager
def traced() -> Iterator[dict[str, object]]:
    """Statements that any connection executes, with values for them."""
    seen: dict[str, object] = {}

    def trace(_cursor: apsw.Cursor, sql: str, values: apsw.Bindings | None) -> bool:
        seen[sql] = values
        return True

    def watch(connection: apsw.Connection) -> None:
        connection.exec_trace = trace

    apsw.connection_hooks.append(watch)
    try:
        yield seen
    finally:
        apsw.connection_hooks.remove(watch)


def reading_all(data: Path, statements: dict[str, object]) -> list[str]:
    """Those that go through a table, or an index, from one end to the other."""
    found = []
    with closing(apsw.Connection(str(data / "queue.db"))) as database:
        for sql, values in statements.items():
            if sql.split()[0] not in {"SELECT", "UPDATE", "DELETE", "INSERT"}:
                continue
            plan = str(database.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall())  # type: ignore[arg-type]  # as they came
            is_one = "LIMIT 1" in sql and "SCAN unit USING INDEX unit_due" in plan
            if ("SCAN unit" in plan or "SCAN message" in plan) and not is_one:
                found.append(sql)
    return found


def test_a_start_reads_a_few_rows(queue: Path) -> None:
    with traced() as statements:
        create_database(queue)
        assert start_over(queue, NOW, tries_all=False, workers=2) == 0
    assert any("owner >= 0" in sql for sql in statements)
    assert reading_all(queue, statements) == []


def test_accepting_leasing_and_ending_read_a_few_rows(queue: Path) -> None:
    async def live() -> None:
        async with opened(queue, checkpoints=True) as store:
            one, two = await store.add(message(routes=("mx:a.test", "mx:b.test")), lease=True)
            await store.finish(delivered(one))
            await store.finish(deferred(two, NOW))
            leased = await store.lease_in(ROOM, now=NOW + 1)
            assert len(leased.units) == 100
            await store.next_due()
            await store.release_all()

    with traced() as statements:
        run(live())
    assert any("owner = ? AND owner < 0" in sql for sql in statements)
    assert reading_all(queue, statements) == []


def test_the_summary_reads_indexes_alone(queue: Path) -> None:
    with traced() as statements, open_reader(queue) as reader:
        began = time.process_time()
        _, _, units = reader.summary(20)
        assert units > MANY - 200
        assert time.process_time() - began < 1.0
    with closing(apsw.Connection(str(queue / "queue.db"))) as database:
        for sql in statements:
            if "GROUP BY" in sql:
                plan = str(database.execute(f"EXPLAIN QUERY PLAN {sql}", VALUES).fetchall())
                assert "COVERING INDEX" in plan or "unit_owner (owner>?)" in plan  # leased: few
