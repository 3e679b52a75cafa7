"""Rebuilding a queue: what is kept, what comes back, what stays away."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from relevo.journal.events import OperatorAction
from relevo.queue.database import (
    DatabaseDamaged,
    DatabaseError,
    QueuePaths,
    connect,
    create_database,
)
from relevo.queue.disk import Disk
from relevo.queue.found_records import find_records
from relevo.queue.levels_by_hand import KnownLevels, forget_levels, raise_levels
from relevo.queue.own_files import read_own_file, write_own_file
from relevo.queue.reading import open_reader
from relevo.queue.records import RecordDamaged, metadata_of
from relevo.queue.repair import Repaired, repair
from relevo.queue.store import NewMessage, UnitResult
from unit.queue.samples import (
    NOW,
    deferred,
    delivered,
    done,
    message,
    opened,
    random_octets,
    read,
    run,
)

INLINE = b"A: b\r\n\r\n"
SEGMENT = random_octets(5_000, 1)
OWN = random_octets(40_000, 2)
PAGE = 4096


def fill(queue: Path, *messages: NewMessage, ended: tuple[NewMessage, ...] = ()) -> None:
    """Messages that wait, and others that ended with a line in the history."""

    async def put() -> None:
        async with opened(queue) as store:
            for one in (*messages, *ended):
                await store.add(one, lease=False)
            for unit in await store.lease(now=NOW, limit=1000):
                if any(unit.message_id == one.id for one in ended):
                    event = done(unit.message_id)
                    await store.finish(UnitResult(unit, unit.recipients, None, (event,)))
            await store.release_all()

    run(put())


def rebuild(queue: Path) -> Repaired:
    return repair(queue, now=NOW + 1000, label="now")


def contents(queue: Path) -> dict[str, bytes]:
    found = {}
    with open_reader(queue) as reader:
        for summary in reader.messages():
            content = reader.content(summary.id)
            assert content is not None
            found[str(summary.id)] = read(content)
    return found


def lose_database(queue: Path) -> None:
    for path in queue.glob("queue.db*"):
        path.unlink()


def checkpoint(queue: Path) -> None:
    """All pages into the database file, so that damage to it counts."""
    connection = connect(QueuePaths(queue), Disk())
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    connection.close()


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def root_page(queue: Path, table: str) -> int:
    connection = connect(QueuePaths(queue), Disk())
    try:
        row = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,))
        number = next(row)[0]
        assert isinstance(number, int)
        return number
    finally:
        connection.close()


def spoil_table(queue: Path, table: str) -> None:
    """Make the first page of a table unreadable."""
    at = (root_page(queue, table) - 1) * PAGE
    checkpoint(queue)
    overwrite(queue / "queue.db", at, b"\xff" * PAGE)


def test_a_sound_queue_is_left_alone(tmp_path: Path) -> None:
    one = message(OWN)
    fill(tmp_path, one)
    assert rebuild(tmp_path) == Repaired(is_sound=True)
    assert contents(tmp_path) == {one.id: OWN}


def test_of_a_sound_queue_damaged_contents_are_named(tmp_path: Path) -> None:
    good, bad = message(OWN), message(SEGMENT)
    fill(tmp_path, good, bad)
    (segment,) = (tmp_path / "spool").glob("*.seg")
    overwrite(segment, 2000, b"damaged")
    assert rebuild(tmp_path) == Repaired(is_sound=True, damaged=[str(bad.id)])


def test_without_database_all_records_come_back(tmp_path: Path) -> None:
    own, segment, inline = message(OWN), message(SEGMENT, routes=("mx:a", "local")), message(INLINE)
    fill(tmp_path, own, segment, inline)
    lose_database(tmp_path)
    with pytest.raises(DatabaseError, match="relevo queue repair"):
        create_database(tmp_path)
    found = rebuild(tmp_path)
    assert sorted(found.rebuilt) == sorted([own.id, segment.id])
    assert found.moved_to is None
    assert contents(tmp_path) == {own.id: OWN, segment.id: SEGMENT}
    with open_reader(tmp_path) as reader:
        summary = reader.message(segment.id)
        assert summary is not None
        assert summary.created == segment.created
        assert summary.envelope == segment.envelope
        assert summary.units == tuple(
            (unit.route, NOW + 1000, 0, unit.recipients) for unit in segment.units
        )


def test_a_rebuilt_queue_is_worked_on(tmp_path: Path) -> None:
    fill(tmp_path, message(OWN), message(SEGMENT))
    lose_database(tmp_path)
    rebuild(tmp_path)

    async def deliver() -> None:
        async with opened(tmp_path) as store:
            units = await store.lease(now=NOW + 1000, limit=9)
            assert [read(unit.content) for unit in units]
            for unit in units:
                await store.finish(delivered(unit))
            assert await store.waiting() == 0

    run(deliver())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: overwrite(path, 0, b"no database"),
        lambda path: overwrite(path, 0, b"\0" * path.stat().st_size),
        lambda path: path.write_bytes(b"text\n" * 1000),
        lambda path: path.write_bytes(path.read_bytes()[: 2 * PAGE]),
        lambda path: path.write_bytes(b""),
    ],
    ids=["header", "zeros", "text", "cut short", "empty"],
)
def test_a_database_that_is_none_is_refused_and_rebuilt(
    tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    one = message(OWN)
    fill(tmp_path, one)
    checkpoint(tmp_path)
    spoil(tmp_path / "queue.db")
    damaged = (tmp_path / "queue.db").read_bytes()
    with pytest.raises(DatabaseError, match="relevo queue repair"):
        create_database(tmp_path)
    found = rebuild(tmp_path)
    assert contents(tmp_path) == {one.id: OWN}
    assert found.moved_to == tmp_path / "queue-damaged-now"
    assert (found.moved_to / "queue.db").read_bytes() == damaged
    assert rebuild(tmp_path).is_sound


def test_a_database_that_lost_its_wal_before_it_was_ever_copied_is_refused(tmp_path: Path) -> None:
    one = message(OWN)

    async def put() -> None:
        async with opened(tmp_path / "data") as store:
            await store.add(one, lease=False)
            shutil.copytree(tmp_path / "data", tmp_path / "copy")

    run(put())
    for path in (tmp_path / "copy").glob("queue.db-*"):
        path.unlink()
    with pytest.raises(DatabaseError, match="relevo queue repair"):
        create_database(tmp_path / "copy")
    assert rebuild(tmp_path / "copy").rebuilt == [one.id]


@pytest.mark.parametrize("table", ["message", "unit"])
def test_damage_to_a_table_of_the_queue_is_refused_at_start(tmp_path: Path, table: str) -> None:
    fill(tmp_path, message(INLINE))
    spoil_table(tmp_path, table)
    with pytest.raises(DatabaseDamaged, match="relevo queue repair"):
        create_database(tmp_path)


def test_damage_to_the_history_costs_history_only(tmp_path: Path) -> None:
    waiting = [message(INLINE), message(SEGMENT), message(OWN)]
    ended = message(SEGMENT)
    fill(tmp_path, *waiting, ended=(ended,))
    spoil_table(tmp_path, "event")
    found = rebuild(tmp_path)
    assert (found.kept, found.rebuilt, found.ended) == (3, [], 1)
    assert contents(tmp_path) == {waiting[0].id: INLINE, waiting[1].id: SEGMENT, waiting[2].id: OWN}


def test_what_the_history_knows_as_ended_stays_away(tmp_path: Path) -> None:
    waiting, ended = message(OWN), message(SEGMENT)
    fill(tmp_path, waiting, ended=(ended,))
    spoil_table(tmp_path, "message")
    found = rebuild(tmp_path)
    assert (found.rebuilt, found.ended) == ([], 1)  # the units of `waiting` were readable
    assert contents(tmp_path) == {waiting.id: OWN}


def test_what_an_operator_dropped_stays_away(tmp_path: Path) -> None:
    dropped = message(SEGMENT)
    fill(tmp_path, dropped)
    with open_reader(tmp_path) as reader:
        reader.drop([dropped.id])
        assert isinstance(reader.trace(dropped.id).events[-1], OperatorAction)
    spoil_table(tmp_path, "message")
    assert rebuild(tmp_path).ended == 1
    assert contents(tmp_path) == {}


def test_progress_that_the_database_still_has_is_kept(tmp_path: Path) -> None:
    one = message(OWN)

    async def put() -> None:
        async with opened(tmp_path) as store:
            await store.add(one, lease=False)
            (unit,) = await store.lease(now=NOW, limit=1)
            await store.finish(deferred(unit, NOW + 600))

    run(put())
    with open_reader(tmp_path) as reader:
        before = list(reader.messages())
    spoil_table(tmp_path, "message")
    rebuild(tmp_path)
    with open_reader(tmp_path) as reader:
        assert list(reader.messages()) == before


def test_without_units_records_say_who_the_recipients_are(tmp_path: Path) -> None:
    own, inline = message(OWN), message(INLINE)
    fill(tmp_path, own, inline)
    spoil_table(tmp_path, "unit")
    found = rebuild(tmp_path)
    assert found.rebuilt == [own.id]
    assert found.no_recipients == [inline.id]
    assert contents(tmp_path) == {own.id: OWN}


def test_a_lost_content_is_named(tmp_path: Path) -> None:
    inline = message(INLINE)
    fill(tmp_path, inline)
    spoil_table(tmp_path, "message")
    found = rebuild(tmp_path)
    assert found.no_content == [inline.id]
    assert contents(tmp_path) == {}


def test_levels_of_domains_are_kept(tmp_path: Path) -> None:
    fill(tmp_path, message(OWN))
    raise_levels(tmp_path, [KnownLevels("r.test", 1, 3)], now=NOW)
    spoil_table(tmp_path, "event")
    rebuild(tmp_path)
    assert forget_levels(tmp_path, "r.test")


def test_many_rows_around_a_damaged_page_are_kept(tmp_path: Path) -> None:
    messages = [message(INLINE * 10) for _ in range(400)]
    fill(tmp_path, *messages)
    checkpoint(tmp_path)
    connection = connect(QueuePaths(tmp_path), Disk())
    pages = [
        row[0]
        for row in connection.execute(
            "SELECT pageno FROM dbstat WHERE name = 'message' AND pagetype = 'leaf' ORDER BY path"
        )
    ]
    connection.close()
    middle = pages[len(pages) // 2]
    assert isinstance(middle, int)
    overwrite(tmp_path / "queue.db", (middle - 1) * PAGE, b"\xff" * PAGE)
    found = rebuild(tmp_path)
    assert 350 < found.kept < 400
    assert len(found.no_content) == 400 - found.kept
    assert len(contents(tmp_path)) == found.kept


def test_a_record_behind_a_damaged_one_is_found(tmp_path: Path) -> None:
    first, second, third = (message(SEGMENT[at : at + 3000]) for at in (0, 900, 1800))
    fill(tmp_path, first, second, third)
    segment, *_ = sorted((tmp_path / "spool").glob("*.seg"))
    data = segment.read_bytes()
    overwrite(segment, data.index(SEGMENT[900:3900]) + 50, b"damaged")
    found = [record.metadata.id for record in find_records(tmp_path / "spool")]
    assert found == [first.id, third.id]


def test_files_that_never_became_messages_are_no_records(tmp_path: Path) -> None:
    fill(tmp_path, message(OWN))
    (tmp_path / "spool" / "7-1.msg").write_bytes(b"still arriving")
    (tmp_path / "spool" / "7-2.msg").write_bytes(b"")
    (tmp_path / "spool" / "7-3.seg").write_bytes(b"")
    (tmp_path / "spool" / "notes.txt").write_bytes(b"x")
    assert len(list(find_records(tmp_path / "spool"))) == 1


@pytest.mark.parametrize("at", [0, 20_000, -20, -100], ids=["begin", "middle", "footer", "end"])
def test_a_damaged_file_is_no_record(tmp_path: Path, at: int) -> None:
    one = message(OWN)
    path = tmp_path / "1-1.msg"
    write_own_file(path, 5, [OWN[:30_000], OWN[30_000:]], metadata_of(one), Disk())
    metadata, size = read_own_file(path, 5)
    assert (metadata.id, size) == (one.id, len(OWN))
    with pytest.raises(RecordDamaged):
        read_own_file(path, 6)
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(RecordDamaged):
        read_own_file(path, 5)


def test_generations_go_on_behind_those_that_were_used(tmp_path: Path) -> None:
    fill(tmp_path, message(OWN))
    fill(tmp_path, message(OWN))
    lose_database(tmp_path)
    rebuild(tmp_path)
    fill(tmp_path, message(OWN))
    generations = {path.name.partition("-")[0] for path in (tmp_path / "spool").glob("*.msg")}
    assert len(generations) == 3


def test_nothing_at_all_is_no_queue(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="no queue"):
        rebuild(tmp_path)


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    fill(tmp_path, message(OWN))
    spoil_table(tmp_path, "event")
    rebuild(tmp_path)
    create_database(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} <= {
        "queue.db", "queue.db-wal", "queue.db-shm", "queue.lock", "spool", "queue-damaged-now",
    }  # fmt: skip
