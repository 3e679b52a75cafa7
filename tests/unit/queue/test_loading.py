"""Messages put into a queue without a worker, beside workers or without them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from relevo.journal.events import OperatorAction
from relevo.queue.database import DatabaseError, QueuePaths, connect, create_database
from relevo.queue.disk import Disk
from relevo.queue.ids import derived_id, is_id, new_id
from relevo.queue.loading import Loaded, Loader, SavedMessage, SavedUnit
from relevo.queue.reading import open_reader
from relevo.queue.store import Envelope, MemoryContent, MessageId, StoreFailed
from unit.queue.samples import (
    NOW,
    done,
    message,
    opened,
    random_octets,
    read,
    recipient,
    run,
    until,
)

LARGE = random_octets(50_000)


def saved(data: bytes = b"A: b\r\n\r\n", identity: str = "", attempts: int = 3) -> SavedMessage:
    return SavedMessage(
        id=MessageId(identity or new_id()),
        created=NOW,
        size=len(data),
        envelope=Envelope("alice@example.org"),
        units=(SavedUnit("mx:example.net", NOW + 60, attempts, (recipient(),)),),
        content=MemoryContent(data),
    )


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    create_database(tmp_path)
    return tmp_path


@pytest.mark.parametrize("data", [b"small", LARGE], ids=["inline", "own file"])
def test_what_is_loaded_is_leased_as_it_was_saved(queue: Path, data: bytes) -> None:
    one = saved(data)
    with Loader(queue) as loader:
        assert loader.load([one]) == {one.id: Loaded.ADDED}

    async def lease() -> None:
        async with opened(queue) as store:
            assert await store.waiting() == 1
            assert await store.lease(now=NOW + 59, limit=9) == ()
            (unit,) = await store.lease(now=NOW + 60, limit=9)
            assert (unit.attempts, unit.route) == (3, "mx:example.net")
            assert unit.recipients == one.units[0].recipients
            assert unit.envelope == one.envelope
            assert read(unit.content) == data

    run(lease())


def test_a_worker_runs_at_the_same_time(queue: Path) -> None:
    async def check() -> None:
        async with opened(queue) as store:
            await store.add(message(LARGE), lease=False)
            with Loader(queue) as loader:
                loader.load([saved(LARGE), saved()])
            await store.add(message(), lease=False)
            assert len(await store.lease(now=NOW + 60, limit=9)) == 4

    run(check())
    with open_reader(queue) as reader:
        assert reader.counts().messages == 4


def test_an_id_is_loaded_once(queue: Path) -> None:
    one = saved(LARGE)
    with Loader(queue) as loader:
        loader.load([one])
        assert loader.load([one, one]) == {one.id: Loaded.QUEUED_ALREADY}
    with open_reader(queue) as reader:
        assert reader.counts().messages == 1
    assert len(list((queue / "spool").glob("*.msg"))) == 1


def test_twice_in_one_batch_is_once(queue: Path) -> None:
    one = saved(LARGE)
    with Loader(queue) as loader:
        loader.load([one, one])
    with open_reader(queue) as reader:
        assert reader.counts().messages == 1
    assert len(list((queue / "spool").glob("*.msg"))) == 1


def test_what_the_history_knows_comes_back_only_when_asked_for(queue: Path) -> None:
    one = saved()

    async def remember() -> None:
        async with opened(queue) as store:
            store.record(done(one.id))

    run(remember())
    with Loader(queue) as loader:
        assert loader.load([one]) == {one.id: Loaded.KNOWN}
        assert loader.load([one], again=True) == {one.id: Loaded.ADDED}


def test_events_come_along_and_are_counted(queue: Path) -> None:
    one = saved()
    event = OperatorAction(NOW, one.id, "imported")
    with Loader(queue) as loader:
        loader.load([replace(one, events=(event,))])
    with open_reader(queue) as reader:
        assert reader.trace(one.id).events == (event,)
        assert reader.counts().events == 1


def test_more_than_a_batch_arrives_whole(queue: Path) -> None:
    with Loader(queue) as loader:
        states = loader.load(saved() for _ in range(250))
    assert list(states.values()) == [Loaded.ADDED] * 250
    with open_reader(queue) as reader:
        assert reader.counts().messages == 250


def test_an_error_in_the_middle_leaves_what_was_before_and_no_half(queue: Path) -> None:
    class Broken(MemoryContent):
        def chunks(self) -> Iterator[bytes]:
            raise StoreFailed("gone")

    bad = replace(saved(), content=Broken(b""))
    first = [saved() for _ in range(100)]
    with Loader(queue) as loader, pytest.raises(StoreFailed, match="gone"):
        loader.load([*first, saved(), bad])
    with open_reader(queue) as reader:
        assert {one.id for one in reader.messages()} == {one.id for one in first}


def test_without_a_queue_there_is_nothing_to_load_into(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="no queue"):
        Loader(tmp_path)


def test_files_of_a_load_that_was_killed_are_swept(queue: Path) -> None:
    loader = Loader(queue)
    loader.load([saved(LARGE)])
    kept = {path.name for path in (queue / "spool").glob("*.msg")}
    generation = next(iter(kept)).partition("-")[0]
    (queue / "spool" / f"{generation}-99.msg").write_bytes(b"half")
    loader.close()

    async def sweep() -> None:
        async with opened(queue, checkpoints=True):
            await until(lambda: not (queue / "spool" / f"{generation}-99.msg").exists())

    run(sweep())
    assert {path.name for path in (queue / "spool").glob("*.msg")} == kept


def test_a_derived_id_is_one_id_and_sorts_by_its_time() -> None:
    assert derived_id(NOW, b"a") == derived_id(NOW, b"a") != derived_id(NOW, b"b")
    assert derived_id(NOW, b"a") < new_id(NOW + 1)
    assert is_id(derived_id(NOW, b"a"))
    assert not is_id("../" + "x" * 17)


def test_rows_of_a_loader_have_numbers_of_their_own(queue: Path) -> None:
    one = saved()
    with Loader(queue) as loader:
        loader.load([replace(one, events=(OperatorAction(NOW, one.id, "x"),))])
    connection = connect(QueuePaths(queue), Disk())
    (number,) = connection.execute("SELECT n FROM event").fetchone() or (0,)
    connection.close()
    assert isinstance(number, int)
    assert number % 64 == 62
