"""Messages in quarantine: counted apart, kept through everything, replaced once when released."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from relevo.hooks.contract.contexts import Client, PostDataContext, Tls
from relevo.journal.events import OperatorAction, Released
from relevo.queue.database import QueuePaths, start_over
from relevo.queue.loading import Loaded, Loader
from relevo.queue.quarantine import DROPPED, EXPIRED, RELEASED, ROUTE, Quarantine, due_of
from relevo.queue.reading import MessageFilter, QueueReader, open_reader
from relevo.queue.repair import repair
from relevo.queue.schedule import HELD_UNTIL
from relevo.queue.store import NewMessage, NewUnit, Unit, UnitResult
from relevo.queue.transfer import find_messages, read_message, write_message
from relevo.service.quarantine_keeping import expire
from unit.queue.samples import (
    NOW,
    delivered,
    message,
    opened,
    random_octets,
    read,
    recipient,
    run,
    until,
)
from unit.queue.test_repair import spoil_table

SIZES = (100, 5_000, 40_000)  # in the row, in a segment, in a file of its own
THERE = MessageFilter(is_quarantined=True)


def kept(
    size: int = 100, *, since: float = NOW, by: str = "spam", reason: str = "odd"
) -> NewMessage:
    """A message that was set aside."""
    plain = message(random_octets(size))
    context = PostDataContext(
        message_id=plain.id, client=Client("192.0.2.7", 25, "cli"), tls=Tls("TLSv1.3", "C"),
        reverse_path="alice@example.org", forward_paths=("bob@d1.test",), tags=("seen",),
    )  # fmt: skip
    why = Quarantine(since, "post-data", by, reason, context, ("first", by), ("x@r.test",))
    return replace(
        plain,
        envelope=replace(plain.envelope, quarantine=why, tags=("seen",)),
        units=(NewUnit(ROUTE, (recipient("bob@d1.test"),), due_of(since)),),
    )


def put(queue: Path, *messages: NewMessage) -> None:
    async def add() -> None:
        async with opened(queue) as store:
            for one in messages:
                await store.add(one, lease=False)

    run(add())


def ids(reader: QueueReader, wanted: MessageFilter | None = None) -> list[str]:
    return [one.id for one in reader.messages(wanted)]


def through(unit: Unit) -> UnitResult:
    """What a release makes of it."""
    new = replace(
        message(read(unit.content)),
        id=unit.message_id,
        first_number=unit.number + 1,
        envelope=replace(unit.envelope, quarantine=None),
    )
    event = Released(NOW, unit.message_id, ("bob@example.net",))
    return UnitResult(unit, unit.recipients, None, (event,), (new,))


def test_it_is_not_tried_not_listed_and_counted_apart(tmp_path: Path) -> None:
    ordinary, aside = message(), kept(300)
    put(tmp_path, ordinary, aside)
    with open_reader(tmp_path) as reader:
        assert ids(reader) == [ordinary.id]
        assert ids(reader, THERE) == [aside.id]
        counts = reader.counts()
        assert (counts.messages, counts.units, counts.next_due) == (1, 1, NOW)
        found = counts.quarantined
        assert (found.messages, found.octets, found.oldest) == (1, 300, NOW)
        assert reader.oldest() == ordinary.created
        assert [each.route for each in reader.summary(10)[0]] == ["mx:example.net"]

    async def leased() -> list[str]:
        async with opened(tmp_path) as store:
            totals = await store.quarantined()
            assert (totals.messages, totals.octets) == (1, 300)
            store.count_quarantined(50)
            return [unit.message_id for unit in await store.lease(now=NOW + 1e9, limit=10)]

    assert run(leased()) == [ordinary.id]
    start_over(tmp_path, NOW + 1e6)
    assert run(leased()) == [ordinary.id], "a start that tries all leaves it where it is"


@pytest.mark.parametrize("size", SIZES)
def test_a_release_puts_what_it_became_in_its_place_once(tmp_path: Path, size: int) -> None:
    aside = kept(size)
    put(tmp_path, aside)
    with open_reader(tmp_path) as reader:
        assert reader.release_from_quarantine([aside.id]) == 1

    async def released() -> None:
        async with opened(tmp_path) as store:
            (unit,) = await store.lease(now=NOW + 1e9, limit=10)
            assert unit.route == ROUTE
            assert unit.envelope == aside.envelope
            await store.finish(through(unit))
            (new,) = await store.lease(now=NOW + 1e9, limit=10)
            assert (new.message_id, new.route) == (aside.id, "mx:example.net")
            await store.finish(through(unit))  # its outcome is told twice
            assert await store.waiting() == 1
            assert await store.next_due() is None, "what is being tried is still the worker's"
            await store.finish(delivered(new))
            assert await store.waiting() == 0

    run(released())
    with open_reader(tmp_path) as reader:
        actions = [
            each for each in reader.trace(aside.id).events if isinstance(each, OperatorAction)
        ]
        assert [each.action for each in actions] == [RELEASED]
        assert (reader.counts().messages, reader.counts().quarantined.messages) == (0, 0)

    async def swept() -> None:
        async with opened(tmp_path, checkpoints=True):
            await until(lambda: not list(QueuePaths(tmp_path).spool.glob("*.msg")))

    run(swept())


def test_what_was_released_waits_for_whoever_comes_next(tmp_path: Path) -> None:
    """A crash between the release and what it becomes."""
    aside = kept()
    put(tmp_path, aside)
    with open_reader(tmp_path) as reader:
        reader.release_from_quarantine([aside.id])

    async def leased() -> list[str]:
        async with opened(tmp_path) as store:
            return [unit.route for unit in await store.lease(now=NOW + 1e9, limit=10)]

    assert run(leased()) == [ROUTE]
    start_over(tmp_path, NOW)
    assert run(leased()) == [ROUTE]


def test_filters(tmp_path: Path) -> None:
    old, new = kept(since=NOW - 100, by="virus", reason="EICAR found"), kept(since=NOW)
    put(tmp_path, old, new)
    with open_reader(tmp_path) as reader:
        for wanted, found in (
            ({"hook": "virus"}, [old.id]),
            ({"reason": "eicar"}, [old.id]),
            ({"quarantined_before": NOW - 50}, [old.id]),
            ({"quarantined_since": NOW - 50}, [new.id]),
            ({"recipient": "bob@d1.test"}, [old.id, new.id]),
            ({"reverse_path": "nobody@example.org"}, []),
        ):
            assert ids(reader, replace(THERE, **wanted)) == found, wanted


def test_what_is_too_old_is_dropped_and_that_is_recorded(tmp_path: Path) -> None:
    old, new, ordinary = kept(40_000, since=NOW - 100), kept(since=NOW), message()
    put(tmp_path, old, new, ordinary)
    assert expire(tmp_path, NOW - 50) == 1
    assert expire(tmp_path, NOW - 50) == 0
    with open_reader(tmp_path) as reader:
        assert ids(reader, THERE) == [new.id]
        (event,) = reader.trace(old.id).events
        assert isinstance(event, OperatorAction)
        assert event.action == EXPIRED
        assert ids(reader) == [ordinary.id]


def test_it_goes_through_files_to_another_queue(tmp_path: Path) -> None:
    here, there, files = tmp_path / "here", tmp_path / "there", tmp_path / "files"
    aside = kept(5_000)
    here.mkdir()
    there.mkdir()
    files.mkdir()
    put(here, aside)
    put(there)
    with open_reader(here) as reader:
        summary = reader.message(aside.id)
        content = reader.content(aside.id)
        assert summary is not None
        assert content is not None
        write_message(summary, content, files, now=NOW)
    (path,) = find_messages(files)
    with Loader(there) as loader:
        assert list(loader.load([read_message(path)]).values()) == [Loaded.ADDED]
    with open_reader(there) as reader:
        (found,) = reader.messages(THERE)
        assert found.envelope == aside.envelope
        assert found.units[0][1] == due_of(NOW)


@pytest.mark.parametrize("size", SIZES[1:])
def test_repair_brings_it_back_into_quarantine(tmp_path: Path, size: int) -> None:
    aside = kept(size)
    put(tmp_path, aside)
    QueuePaths(tmp_path).database.write_bytes(b"damaged")
    QueuePaths(tmp_path).wal.unlink(missing_ok=True)
    found = repair(tmp_path, now=NOW, label="x")
    assert found.rebuilt == [aside.id]
    with open_reader(tmp_path) as reader:
        (one,) = reader.messages(THERE)
        assert one.envelope == aside.envelope
        assert one.units[0][1] is not None
        assert one.units[0][1] >= HELD_UNTIL


def test_repair_knows_what_a_release_made_of_it(tmp_path: Path) -> None:
    """Both records are there: that of the message set aside, and that of what became of it."""
    aside = kept(5_000)
    put(tmp_path, aside)
    with open_reader(tmp_path) as reader:
        reader.release_from_quarantine([aside.id])

    async def released() -> None:
        async with opened(tmp_path) as store:
            (unit,) = await store.lease(now=NOW + 1e9, limit=10)
            await store.finish(through(unit))

    run(released())
    QueuePaths(tmp_path).database.write_bytes(b"damaged")
    QueuePaths(tmp_path).wal.unlink(missing_ok=True)
    repair(tmp_path, now=NOW, label="x")
    with open_reader(tmp_path) as reader:
        assert ids(reader, THERE) == []
        (one,) = reader.messages()
        assert (one.id, [route for route, *_ in one.units]) == (aside.id, ["mx:example.net"])


@pytest.mark.parametrize("action", [DROPPED, EXPIRED])
def test_repair_does_not_bring_back_what_was_dropped(tmp_path: Path, action: str) -> None:
    aside = kept(5_000)
    put(tmp_path, aside)
    with open_reader(tmp_path) as reader:
        assert reader.drop([aside.id], action) == 1
    spoil_table(tmp_path, "message")
    assert repair(tmp_path, now=NOW, label="x").ended == 1
    with open_reader(tmp_path) as reader:
        assert ids(reader, THERE) == []
