"""History: rows, bounds, traces of addresses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from relevo.journal.events import (
    Accepted,
    Attempted,
    Authenticated,
    Done,
    DsnSent,
    Event,
    Listening,
    OperatorAction,
    Outcome,
    Rejected,
    Waiting,
)
from relevo.queue.database import QueuePaths, connect, create_database
from relevo.queue.disk import Disk
from relevo.queue.history import (
    Buffer,
    EventRow,
    Numbers,
    events_of,
    messages_mentioning,
    prune,
)
from relevo.queue.ids import Sequence
from unit.queue.samples import NOW, accepted, attempted, done, message, opened, run, until

DAY = 86_400.0
EVENTS: tuple[Event, ...] = (
    Listening(NOW, "192.0.2.1:25", "smtp"),
    Authenticated(NOW, "192.0.2.1:4321", "bob", succeeded=True),
    Rejected(NOW, "[2001:db8::1]:4", None, ("x@y.test",), 550, "5.1.1", "no\nsuch user"),
    Accepted(NOW, "0id", "192.0.2.1:4321", "a@ü.test", ("b@c.test", "d@e.test"), 5, auth="bob"),
    Attempted(NOW, "0id", "a@b.test", "x", "y", Outcome.TEMPORARY, "mx:x", "4.7.0 later", 1.5),
    Waiting(NOW, "0id", "<>", 90.0),
    Done(NOW, "0id", "<>"),
    DsnSent(NOW, "0id", "0dsn", "b@c.test"),
    OperatorAction(NOW, "0id", "drop"),
)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[apsw.Connection]:
    create_database(tmp_path)
    made = connect(QueuePaths(tmp_path), Disk())
    yield made
    made.close()


def insert(connection: apsw.Connection, *events: Event) -> None:
    numbers = Numbers(0)
    connection.executemany("INSERT INTO event VALUES (?, ?, ?, ?, ?)", numbers.rows(events))
    connection.execute("UPDATE counter SET events = events + ?", (len(events),))


def identity(at: float) -> str:
    return Sequence().next(at)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_every_kind_comes_back_as_it_was(connection: apsw.Connection, event: Event) -> None:
    row = Numbers(0).row(event)
    insert(connection, event)
    assert list(events_of(connection, row[0], 10)) == [event]


def test_octets_that_are_no_text_become_replacement_characters(
    connection: apsw.Connection,
) -> None:
    insert(connection, Rejected(NOW, "c", "a\udcff@b", ("x\udc80",), 550, "", "r", "0id"))
    (found,) = events_of(connection, "0id", 10)
    assert isinstance(found, Rejected)
    assert found.reverse_path is not None
    assert found.reverse_path.replace("\ufffd", "") == "a@b"


def test_rows_of_kinds_of_a_later_release_are_passed_over(connection: apsw.Connection) -> None:
    insert(connection, accepted("0id"))
    connection.execute("INSERT INTO event VALUES ('0id', 1, 0.0, 'teleported', x'7b7d')")
    connection.execute("INSERT INTO event VALUES ('0id', 2, 0.0, 'done', x'7b7d')")
    assert list(events_of(connection, "0id", 10)) == [accepted("0id")]


def test_numbers_grow_and_differ_between_writers() -> None:
    one, two = Numbers(1), Numbers(2)
    numbers = [one.next() for _ in range(1000)]
    assert numbers == sorted(set(numbers))
    assert not set(numbers) & {two.next() for _ in range(1000)}


@pytest.mark.parametrize("address", ["bob@example.net", "BOB@Example.net", 'we"ird\\@x.test'])
def test_address_is_found_newest_message_first(connection: apsw.Connection, address: str) -> None:
    old, new, other = identity(NOW), identity(NOW + 5), identity(NOW + 9)
    target = address.lower()
    insert(
        connection,
        attempted(old, target=target),
        done(old),
        attempted(new, target=target),
        attempted(new, target=target),
        attempted(other, target=f"jo{target}"),
        attempted(other, target=f"{target}.elsewhere.test"),
    )
    assert messages_mentioning(connection, address, 10) == [new, old]
    assert messages_mentioning(connection, address, 1) == [new]
    assert messages_mentioning(connection, "nobody@example.net", 10) == []


def remaining(connection: apsw.Connection) -> list[object]:
    return [row[0] for row in connection.execute("SELECT message FROM event ORDER BY message")]


def prune_all(connection: apsw.Connection, *, oldest: float, most: int, batch: int) -> list[int]:
    removed = []
    while count := prune(connection, oldest=oldest, most=most, batch=batch):
        removed.append(count)
        assert len(removed) < 1000
    return removed


@pytest.mark.parametrize("batch", [1, 3, 7, 1000])
def test_prune_by_age_keeps_what_is_young(connection: apsw.Connection, batch: int) -> None:
    ids = [identity(NOW + day * DAY) for day in range(20)]
    for one in ids:
        insert(connection, accepted(one), done(one))
    insert(connection, Rejected(NOW + DAY, "c", None, (), 550, "", "r"))
    prune_all(connection, oldest=NOW + 10 * DAY, most=10**6, batch=batch)
    assert remaining(connection) == [one for one in ids[10:] for _ in range(2)]
    assert connection.execute("SELECT events FROM counter").fetchall() == [(20,)]


@pytest.mark.parametrize("batch", [1, 3, 7, 1000])
def test_prune_by_count_takes_the_oldest_in_small_batches(
    connection: apsw.Connection, batch: int
) -> None:
    ids = [identity(NOW + day * DAY) for day in range(20)]
    for one in ids:
        insert(connection, accepted(one), done(one))
    removed = prune_all(connection, oldest=0.0, most=11, batch=batch)
    assert all(count <= batch + 2 for count in removed)
    left = remaining(connection)
    assert left == [one for one in ids[-len(left) // 2 :] for _ in range(2)]
    assert 9 <= len(left) <= 11


def test_prune_of_one_message_with_more_events_than_allowed(connection: apsw.Connection) -> None:
    insert(connection, *(attempted("0id", at=NOW + second) for second in range(50)))
    assert prune_all(connection, oldest=0.0, most=10, batch=5) == [50]


def test_prune_of_nothing(connection: apsw.Connection) -> None:
    assert prune(connection, oldest=NOW, most=0, batch=10) == 0


def test_buffer_drops_the_oldest_and_counts() -> None:
    buffer = Buffer()
    for number in range(10_050):
        buffer.append((str(number), number, 0.0, "done", b""))
    assert buffer.lost == 50
    rows = buffer.take()
    assert (len(rows), rows[0][0], rows[-1][0]) == (10_000, "50", "10049")
    assert len(buffer) == 0
    assert buffer.take() == []


def test_rows_given_back_come_first_and_are_bounded() -> None:
    def row(number: int) -> EventRow:
        return (str(number), number, 0.0, "done", b"")

    buffer = Buffer()
    for number in range(6000):
        buffer.append(row(number))
    taken = buffer.take()
    for number in range(6000, 12_000):
        buffer.append(row(number))
    buffer.give_back(taken)
    assert buffer.lost == 2000
    assert buffer.take() == [row(number) for number in range(2000, 12_000)]


def test_recorded_events_are_written_without_any_other_commit(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path) as store:
            reader = connect(QueuePaths(tmp_path), Disk())
            store.record(done("0id"))
            await until(lambda: list(events_of(reader, "0id", 9)) == [done("0id")], timeout_s=3)
            assert reader.execute("SELECT events FROM counter").fetchall() == [(1,)]
            reader.close()

    run(check())


def test_recorded_events_ride_with_the_next_commit(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path) as store:
            await store.add(message(), lease=False)  # the first tick is over
            store.record(done("0id"))
            await store.add(message(), lease=False)
            reader = connect(QueuePaths(tmp_path), Disk())
            assert list(events_of(reader, "0id", 9)) == [done("0id")]
            reader.close()

    run(check())
