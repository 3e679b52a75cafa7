"""The operator's view and changes by hand, beside a running worker."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from relevo.journal.events import OperatorAction, Rejected
from relevo.queue.database import DatabaseError, start_over
from relevo.queue.reading import Counts, MessageFilter, QueueReader, UnitState, open_reader
from relevo.queue.store import RecipientState
from unit.queue.samples import (
    NOW,
    accepted,
    attempted,
    deferred,
    delivered,
    message,
    opened,
    random_octets,
    read,
    run,
)


def reader_of(directory: Path) -> QueueReader:
    return open_reader(directory, clock=lambda: NOW + 7)


def shown(reader: QueueReader, identity: str) -> tuple[tuple[str, float | None, int, object], ...]:
    found = reader.message(identity)
    assert found is not None
    return found.units


def test_no_queue_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="no queue"):
        open_reader(tmp_path)


def test_message_is_shown_with_its_units(tmp_path: Path) -> None:
    new = message(random_octets(5000), routes=("a", "b"))

    async def check() -> None:
        async with opened(tmp_path) as store:
            one, two = await store.add(new, lease=True)
            await store.finish(deferred(two, NOW + 60))
            with reader_of(tmp_path) as reader:
                shown = reader.message(new.id)
                assert shown is not None
                assert (shown.id, shown.created, shown.size) == (new.id, NOW, 5000)
                assert shown.envelope == new.envelope
                assert [unit[:3] for unit in shown.units] == [("a", None, 0), ("b", NOW + 60, 1)]
                assert shown.units[0][3] == one.recipients
                assert shown.units[1][3][0].state is RecipientState.DELIVERED
                content = reader.content(new.id)
                assert content is not None
                assert read(content) == random_octets(5000)
                assert reader.message("0nothing") is None
                assert reader.content("0nothing") is None

    run(check())


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        pytest.param(MessageFilter(), ["0a", "0b", "0c"], id="all"),
        pytest.param(MessageFilter(reverse_path="ANN@x.test"), ["0a", "0c"], id="sender"),
        pytest.param(MessageFilter(reverse_path=""), ["0b"], id="null-sender"),
        pytest.param(MessageFilter(recipient="Bob@one.test"), ["0a"], id="recipient"),
        pytest.param(MessageFilter(created_before=NOW + 2), ["0a", "0b"], id="older"),
        pytest.param(MessageFilter(created_since=NOW + 2), ["0c"], id="younger"),
        pytest.param(MessageFilter(state=UnitState.LEASED), ["0c"], id="leased"),
        pytest.param(MessageFilter(state=UnitState.WAITING), ["0a", "0b"], id="waiting"),
        pytest.param(MessageFilter(domain="ONE.test"), ["0a"], id="domain"),
        pytest.param(MessageFilter(domain="e.test"), [], id="part-of-domain"),
        pytest.param(
            MessageFilter(reverse_path="ann@x.test", state=UnitState.LEASED), ["0c"], id="both"
        ),
    ],
)
def test_messages_are_filtered(tmp_path: Path, wanted: MessageFilter, found: list[str]) -> None:
    async def check() -> None:
        async with opened(tmp_path) as store:
            for number, (identity, sender, route) in enumerate(
                [("0a", "ann@x.test", "one"), ("0b", "", "two"), ("0c", "ann@x.test", "three")]
            ):
                new = message(identity=identity, reverse_path=sender, routes=(route,))
                new = replace(new, created=NOW + number)
                await store.add(new, lease=identity == "0c")
            with reader_of(tmp_path) as reader:
                assert [summary.id for summary in reader.messages(wanted)] == found

    run(check())


def test_listing_goes_over_pages(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path) as store:
            news = [message(identity=f"0{number:04}") for number in range(1003)]
            await asyncio.gather(*(store.add(new, lease=False) for new in news))
            with reader_of(tmp_path) as reader:
                listed = [summary.id for summary in reader.messages()]
                assert listed == [new.id for new in news]

    run(check())


def test_counts(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path) as store:
            with reader_of(tmp_path) as reader:
                assert reader.counts() == Counts(0, 0, 0, 0, None)
                new = message(identity="0a", routes=("a", "b"))
                await store.add(replace(new, events=(accepted("0a"),)), lease=True)
                await store.add(message(due=NOW + 5), lease=False)
                assert reader.counts() == Counts(2, 3, 2, 1, NOW + 5)

    run(check())


def test_the_oldest_message_and_the_latest_events(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path) as store:
            with reader_of(tmp_path) as reader:
                assert reader.oldest() is None
                assert reader.latest_events(5) == ()
                for identity, at in (("0a", NOW), ("0b", NOW + 5)):
                    new = message(identity=identity, events=(accepted(identity, at=at),))
                    await store.add(replace(new, created=at), lease=False)
                assert reader.oldest() == NOW
                assert [event.time for event in reader.latest_events(5)] == [NOW + 5, NOW]
                assert len(reader.latest_events(1)) == 1

    run(check())


def test_retry_makes_waiting_units_due_and_leaves_leased_ones(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(tmp_path) as store:
            new = message(routes=("a", "b"))
            one, two = await store.add(new, lease=True)
            await store.finish(deferred(one, NOW + 9999))
            with reader_of(tmp_path) as reader:
                assert reader.retry([new.id, "0nothing"]) == 1
                assert reader.trace(new.id).events[-1] == OperatorAction(NOW + 7, new.id, "retry")
            assert await store.next_due() == NOW + 7
            (again,) = await store.lease(now=NOW + 7, limit=9)
            assert (again.route, again.attempts) == ("a", 1)
            await store.finish(delivered(two))

    run(check())


@pytest.mark.parametrize("size", [20, 5000, 40_000], ids=["inline", "segment", "file"])
def test_dropped_message_is_gone_and_recorded(tmp_path: Path, size: int) -> None:
    async def check() -> None:
        async with opened(tmp_path) as store:
            new = message(random_octets(size), routes=("a", "b"))
            await store.add(new, lease=False)
            await store.add(message(identity="0kept"), lease=False)
            with reader_of(tmp_path) as reader:
                assert reader.drop([new.id, "0nothing"]) == 1
                assert reader.message(new.id) is None
                assert reader.counts().messages == 1
                assert reader.trace(new.id).events == (OperatorAction(NOW + 7, new.id, "drop"),)
            assert not list((tmp_path / "spool").glob("*.msg"))
            (left,) = await store.lease(now=NOW, limit=9)
            assert left.message_id == "0kept"

    run(check())


@pytest.mark.parametrize("again", [None, NOW + 1], ids=["delivered", "deferred"])
def test_result_of_a_dropped_unit_neither_fails_nor_brings_it_back(
    tmp_path: Path, again: float | None
) -> None:
    async def check() -> None:
        async with opened(tmp_path) as store:
            new = message(random_octets(40_000), routes=("a", "b"))
            units = await store.add(new, lease=True)
            with reader_of(tmp_path) as reader:
                assert reader.drop([new.id]) == 1
            for unit in units:
                assert read(unit.content) == random_octets(40_000)
                result = delivered(unit, dsns=(message(b"dsn"),))
                await store.finish(replace(result, due=again))
                await store.finish(replace(result, due=again, dsns=()))
            with reader_of(tmp_path) as reader:
                counts = reader.counts()
                assert (counts.messages, counts.units) == (0, 0)
            assert await store.lease(now=NOW + 1e6, limit=9) == ()

    run(check())


def test_address_is_traced_through_messages_and_rejections(tmp_path: Path) -> None:
    refusal = Rejected(NOW, "192.0.2.9:1", "eve@x.test", ("bob@example.net",), 550, "5.7.1", "no")

    async def check() -> None:
        async with opened(tmp_path) as store:
            new = replace(message(), events=())
            new = replace(new, events=(accepted(new.id),))
            (unit,) = await store.add(new, lease=True)
            await store.finish(replace(delivered(unit), events=(attempted(new.id),)))
            store.record(refusal)
            await store.add(message(), lease=False)
            with reader_of(tmp_path) as reader:
                traces = reader.trace_address("bob@example.net")
                assert {trace.events for trace in traces} == {
                    (accepted(new.id), attempted(new.id)),
                    (refusal,),
                }
                assert [trace.events for trace in reader.trace_address("eve@x.test")] == [
                    (refusal,)
                ]

    run(check())


def test_what_is_held_waits_until_it_is_released_and_survives_a_start(tmp_path: Path) -> None:
    new = message(routes=("a", "b"))

    async def check() -> None:
        async with opened(tmp_path) as store:
            one, _ = await store.add(new, lease=True)
            await store.finish(deferred(one, NOW + 60))
            with reader_of(tmp_path) as reader:
                assert reader.hold([new.id, "0nothing"]) == 1
                assert reader.hold([new.id]) == 0  # what is held is; the other is being tried
                states = [UnitState.of(unit[1]) for unit in shown(reader, new.id)]
                assert states == [UnitState.HELD, UnitState.LEASED]
        start_over(tmp_path, NOW + 5)
        async with opened(tmp_path) as store:
            with reader_of(tmp_path) as reader:
                assert UnitState.of(shown(reader, new.id)[0][1]) is UnitState.HELD
                assert reader.retry([new.id], even_held=False) == 1
                assert UnitState.of(shown(reader, new.id)[0][1]) is UnitState.HELD
                assert reader.release([new.id]) == 1
                assert shown(reader, new.id)[0][1] == NOW + 7
                actions = [e for e in reader.trace(new.id).events if isinstance(e, OperatorAction)]
                assert [action.action for action in actions] == ["hold", "retry", "release"]

    run(check())
