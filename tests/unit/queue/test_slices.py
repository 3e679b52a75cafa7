"""Files of records: whole, bounded, and gone in time."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from relevo.queue.record_keeper import RecordKeeper
from relevo.queue.slices import Bounds, SliceWriter, copy_slices, read_slices, remove_slices

MANY = Bounds(3600.0, 10**9, 10**6)


def records(folder: Path, since: float = 0.0) -> list[bytes]:
    return [record for _, record in read_slices(folder, since)]


def test_what_was_written_is_read_in_its_order(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    for number in (1, 0):
        writer = SliceWriter(folder, number, MANY)
        writer.append([(10.0, b"a%d" % number), (11.0, b"")])
        writer.append([(12.0, b"x" * 100_000)])
        writer.close()
    assert records(folder) == [b"a0", b"", b"x" * 100_000, b"a1", b"", b"x" * 100_000]
    assert records(folder, since=10.5) == [b"", b"x" * 100_000] * 2
    assert records(tmp_path / "nothing") == []


def test_only_the_owner_may_read(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    os.umask(os.umask(0o000))
    writer = SliceWriter(folder, 0, MANY)
    writer.append([(10.0, b"a")])
    writer.close()
    (file,) = folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("cut", [1, 5, 30])
def test_what_a_crash_cut_short_ends_its_file_only(tmp_path: Path, cut: int) -> None:
    first = SliceWriter(tmp_path, 0, MANY)
    first.append([(10.0, b"whole"), (11.0, b"cut")])
    first.close()
    (file,) = tmp_path.iterdir()
    os.truncate(file, file.stat().st_size - cut)
    again = SliceWriter(tmp_path, 0, MANY)
    again.append([(12.0, b"later")])
    again.close()
    assert records(tmp_path) == ([b"whole", b"later"] if cut <= 23 else [b"later"])


def test_damage_is_not_read(tmp_path: Path) -> None:
    writer = SliceWriter(tmp_path, 0, MANY)
    writer.append([(10.0, b"good"), (11.0, b"evil")])
    writer.close()
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes().replace(b"evil", b"EVIL"))
    assert records(tmp_path) == [b"good"]


def test_the_oldest_goes_when_there_is_too_much(tmp_path: Path) -> None:
    bounds = Bounds(1e9, 120_000, 10**6)
    writer = SliceWriter(tmp_path, 0, bounds)
    most = 0
    for number in range(1000):
        writer.append([(float(number), b"%06d" % number + b"x" * 994)])
        most = max(most, sum(each.stat().st_size for each in tmp_path.iterdir()))
    assert most <= 121_100  # one record more
    kept = [int(record[:6]) for record in records(tmp_path)]
    assert kept == list(range(kept[0], 1000))
    assert len(kept) > 90

    few = SliceWriter(tmp_path, 1, Bounds(1e9, 10**9, 120))
    for number in range(1000):
        few.append([(float(number), b"")])
    assert 100 <= len(records(tmp_path)) - len(kept) <= 121


def test_what_is_too_old_goes(tmp_path: Path) -> None:
    writer = SliceWriter(tmp_path, 0, Bounds(120.0, 10**9, 10**6))
    for second in range(0, 300, 5):
        writer.append([(float(second), b"%d" % second)])
    writer.prune(300.0)
    times = [int(record) for record in records(tmp_path)]
    assert 180 - 15 <= times[0] <= 180
    writer.prune(1000.0)
    assert list(tmp_path.iterdir()) == []
    writer.append([(1001.0, b"new")])
    assert records(tmp_path) == [b"new"]
    writer.close()


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    writer = SliceWriter(tmp_path, 0, MANY)
    writer.append([(10.0, b"a")])
    writer.close()
    remove_slices(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["notes.txt"]


def test_the_keeper_writes_what_it_got_and_refuses_what_has_no_room(tmp_path: Path) -> None:
    keeper = RecordKeeper(tmp_path, 0, MANY, room=10_000, least_free=0.0)
    now = time.time()
    assert keeper.put(now, b"a")
    assert not keeper.put(now, b"x" * 20_000)
    assert keeper.put(now, b"b")
    keeper.close()
    assert records(tmp_path) == [b"a", b"b"]
    assert keeper.dropped == 1


def test_a_keeper_without_a_disk_holds_up_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    keeper = RecordKeeper(tmp_path / "file", 0, MANY, room=10_000, least_free=0.0)
    assert keeper.put(time.time(), b"a")
    keeper.close()
    assert keeper.dropped == 1
    assert "nothing can be kept in" in caplog.text


def test_a_copy_is_whole_and_the_owner_s(tmp_path: Path) -> None:
    writer = SliceWriter(tmp_path / "kept", 0, MANY)
    writer.append([(10.0, b"a"), (11.0, b"b" * 100_000)])
    copy_slices(tmp_path / "kept", tmp_path / "copy")
    writer.close()
    assert records(tmp_path / "copy") == [b"a", b"b" * 100_000]
    (file,) = (tmp_path / "copy").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_room_that_mail_needs_is_left_to_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = RecordKeeper(tmp_path, 0, MANY, room=10_000, least_free=1.1)
    keeper.put(time.time(), b"a")
    keeper.close()
    assert (records(tmp_path), keeper.dropped) == ([], 1)
    assert "is for mail" in caplog.text


def test_what_processes_left_that_are_no_more_goes_too(tmp_path: Path) -> None:
    gone = SliceWriter(tmp_path, 7, MANY)
    gone.append([(10.0, b"old")])
    gone.close()
    (file,) = tmp_path.iterdir()
    os.utime(file, (10.0, 10.0))
    keeper = RecordKeeper(tmp_path, 0, MANY, room=10_000, least_free=0.0)
    keeper.put(time.time(), b"new")
    keeper.close()
    assert records(tmp_path) == [b"new"]
