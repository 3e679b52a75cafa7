"""Segments: rolling, recycling, stale records."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from relevo.queue import segments, writer
from relevo.queue.content import ContentDamaged, segment_content
from relevo.queue.database import QueuePaths, connect, create_database
from relevo.queue.generations import Generation, SpoolName, sweep
from relevo.queue.records import HEADER_SIZE, Header, metadata_of, scan_segment
from relevo.queue.segments import SegmentWriter
from unit.queue.faults import FaultyDisk, broken
from unit.queue.samples import (
    NOW,
    delivered,
    message,
    opened,
    random_octets,
    read,
    run,
    until,
)

SIZE = 8192
METADATA = metadata_of(message(b"", identity="0x"))


def never(name: str) -> bool:
    """No row points anywhere."""
    return False


class Bench:
    """A segment writer on a directory of its own."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        create_database(directory)
        self.spool = QueuePaths(directory).spool
        self.disk = FaultyDisk()
        self.connection = connect(QueuePaths(directory), self.disk)
        self.generation = Generation(self.spool, self.connection)
        self.pool = ThreadPoolExecutor(1)
        self.writer = SegmentWriter(self.spool, self.generation, self.disk, self.pool, SIZE)

    def append(self, content: bytes) -> tuple[str, int]:
        place = self.writer.append(METADATA, content)
        self.writer.sync()
        return place

    def read(self, place: tuple[str, int], size: int) -> bytes:
        name = SpoolName.parse(place[0])
        assert name is not None
        return read(segment_content(self.spool / place[0], name.number, place[1], size))

    def close(self) -> None:
        self.writer.close()
        self.pool.shutdown()
        self.generation.close()
        self.connection.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def test_segment_has_its_size_before_use(bench: Bench) -> None:
    name, start = bench.append(b"first")
    assert start == 0
    assert (bench.spool / name).stat().st_size == SIZE
    assert (bench.spool / name).stat().st_blocks * 512 >= SIZE


def test_name_of_a_segment_is_durable_before_its_use(bench: Bench) -> None:
    bench.disk.failing["sync_directory"] = broken()
    with pytest.raises(OSError, match="error"):
        bench.append(b"x")
    assert list(bench.spool.glob("*.seg")) == []


def test_records_follow_each_other_and_roll_over(bench: Bench) -> None:
    contents = [random_octets(1500, seed) for seed in range(20)]
    places = [bench.append(content) for content in contents]
    names = {name for name, _ in places}
    assert len(names) >= 5
    for place, content in zip(places, contents, strict=True):
        assert bench.read(place, 1500) == content
    assert all((bench.spool / name).stat().st_size == SIZE for name in names)


def test_group_is_one_write_and_one_sync(bench: Bench) -> None:
    bench.append(b"makes the segment")
    before = bench.disk.calls.copy()
    places = [bench.writer.append(METADATA, b"%d" % number) for number in range(5)]
    bench.writer.sync()
    assert bench.disk.calls["write"] - before["write"] == 1
    assert bench.disk.calls["sync_data"] - before["sync_data"] == 1
    assert [bench.read(place, 1) for place in places] == [b"0", b"1", b"2", b"3", b"4"]


def test_group_over_two_segments_is_synced_in_both(bench: Bench) -> None:
    before = bench.disk.calls["sync_data"]
    places = [bench.writer.append(METADATA, random_octets(3000, seed)) for seed in range(3)]
    bench.writer.sync()
    assert len({name for name, _ in places}) == 2
    assert bench.disk.calls["sync_data"] - before == 2
    assert bench.read(places[0], 3000) == random_octets(3000, 0)


def test_dead_segments_are_used_again_and_stale_records_are_not_read(bench: Bench) -> None:
    old = [bench.append(random_octets(3000, seed)) for seed in range(6)]
    sealed = {name for name, _ in old[:-1]} - {old[-1][0]}
    inodes = {
        (bench.spool / name).stat().st_ino: (name, start) for name, start in old if name in sealed
    }
    assert bench.writer.collect(never) == len(sealed)
    for seed in range(100, 200):
        name, start = bench.append(random_octets(100, seed))
        assert bench.read((name, start), 100) == random_octets(100, seed)
        if (bench.spool / name).stat().st_ino in inodes:
            break
    assert name not in sealed
    # Behind the first new record an old one still lies there, whole; it is none of this use.
    parsed = SpoolName.parse(name)
    assert parsed is not None
    data = (bench.spool / name).read_bytes()
    stale = data.rindex(b"RVsg")
    assert Header.unpack(data[stale : stale + HEADER_SIZE]).content_length == 3000
    assert [found for found, _, _ in scan_segment(data, parsed.number)] == [start]
    with pytest.raises(ContentDamaged, match="earlier use"):
        bench.read((name, stale), 3000)
    with pytest.raises(ContentDamaged, match="No such file"):
        bench.read(inodes[(bench.spool / name).stat().st_ino], 3000)


def test_the_first_segments_are_small_and_not_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "_FIRST", SIZE // 4)
    bench = Bench(tmp_path / "other")
    assert not bench.writer.takes_now(METADATA, b"")
    places = [bench.append(random_octets(1000, seed)) for seed in range(16)]
    names = list(dict.fromkeys(name for name, _ in places))
    sizes = [(bench.spool / name).stat().st_size for name in names]
    assert sizes[:3] == [SIZE // 4, SIZE // 2, SIZE]
    assert set(sizes[3:]) == {SIZE}
    assert bench.writer.takes_now(METADATA, b"")
    assert not bench.writer.takes_now(METADATA, bytes(SIZE))
    assert not bench.writer.has_room_for(METADATA, SIZE // 4)
    bench.writer.collect(never)
    kept = {path.name for path in bench.spool.glob("*.seg")}
    assert not kept & set(names[:2])
    assert names[2] in kept
    bench.close()


def test_live_segments_stay(bench: Bench) -> None:
    places = [bench.append(random_octets(3000, seed)) for seed in range(6)]
    kept = places[0][0]
    bench.writer.collect(lambda name: name == kept)
    for seed in range(100, 120):  # what is dead is used again, or removed
        bench.append(random_octets(3000, seed))
    assert bench.read(places[0], 3000) == random_octets(3000, 0)


def test_only_a_few_dead_segments_are_kept(bench: Bench) -> None:
    for seed in range(30):
        bench.append(random_octets(3000, seed))
    bench.writer.collect(never)
    # two in stock, the current one, the one made ahead
    assert len(list(bench.spool.glob("*.seg"))) <= 4


def test_collection_looks_at_all_in_the_end(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "_LOOKS", 2)
    names = {bench.append(random_octets(5000, seed))[0] for seed in range(6)}
    live = min(names)
    looked: set[str] = set()

    def is_live(name: str) -> bool:
        looked.add(name)
        return name == live

    for _ in range(4):
        bench.writer.collect(is_live)
    assert len(looked) == len(names) - 1
    assert (bench.spool / live).exists()


def test_failed_preparation_leaves_no_file_and_is_tried_again(bench: Bench) -> None:
    bench.disk.failing["sync"] = broken()
    with pytest.raises(OSError, match="error"):
        bench.append(b"x")
    bench.writer.abandon()
    assert list(bench.spool.glob("*.seg")) == []
    bench.disk.failing.clear()
    place = bench.append(b"x")
    assert bench.read(place, 1) == b"x"


def test_segment_of_a_living_generation_is_not_swept(bench: Bench) -> None:
    place = bench.append(b"not committed yet")
    assert sweep(bench.spool, bench.connection, bench.disk) == 0
    assert bench.read(place, 17) == b"not committed yet"


def test_segments_of_a_dead_generation_are_swept(bench: Bench, tmp_path: Path) -> None:
    bench.append(b"never committed")
    bench.close()
    again = Bench(tmp_path)
    try:
        assert again.generation.number == 2
        assert sweep(again.spool, again.connection, again.disk) == 1
        assert [path.name for path in again.spool.iterdir()] == ["2.lock"]
    finally:
        again.close()
        bench.connection = again.connection
        bench.generation = Generation(again.spool, connect(QueuePaths(tmp_path), again.disk))


def test_store_recycles_what_was_delivered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_TICK", 0.02)

    def count() -> int:
        return len(list((tmp_path / "spool").glob("*.seg")))

    async def check() -> None:
        async with opened(tmp_path) as store:
            waiting = [message(random_octets(3000, seed)) for seed in range(4)]
            for new in waiting:
                await store.add(new, lease=False)
                for seed in range(20):
                    (unit,) = await store.add(message(random_octets(3000, seed)), lease=True)
                    await store.finish(delivered(unit))
                # each waiting message keeps its own, beside those in stock and in use
                await until(lambda: count() <= 8)
            units = await store.lease(now=NOW, limit=9)
            assert {unit.message_id: read(unit.content) for unit in units} == {
                new.id: read(new.content) for new in waiting
            }

    run(check())
