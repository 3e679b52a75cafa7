"""The model of the disk promises no more than a sync did."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from fault.powercut.disk import SECTOR, Disk, Mode
from fault.powercut.recording import Kind, Record

ROOT, NEW, TMP, FILE = 1, 2, 3, 4


def record(
    kind: Kind, inode: int = 0, offset: int = 0, extra: int = 0, data: bytes = b""
) -> Record:
    return Record(kind, inode, offset, extra, data)


def sync(inode: int) -> list[Record]:
    return [record(Kind.SYNC_BEGIN, inode, 7), record(Kind.SYNC_END, inode, 7)]


def made(inode: int, name: bytes, folder: int, kind: Kind = Kind.CREATE) -> Record:
    return record(kind, inode, extra=folder, data=name)


def write(data: bytes, offset: int = 0) -> Record:
    return record(Kind.WRITE, FILE, offset, data=data)


START = [
    record(Kind.ROOT, ROOT, data=b"/root"),
    made(NEW, b"new", ROOT, Kind.MAKEDIR),
    made(TMP, b"tmp", ROOT, Kind.MAKEDIR),
    *sync(ROOT),
]
RENAME = record(Kind.RENAME, FILE, NEW, TMP, b"f\0f")


def image(
    records: list[Record], path: Path, mode: Mode = Mode.DROP, seed: int = 0
) -> dict[str, bytes]:
    disk = Disk()
    for one in [*START, *records]:
        disk.play(one)
    disk.write_image(path, mode, random.Random(seed))
    files = (file for file in (path / "root").rglob("*") if file.is_file())
    return {str(file.relative_to(path / "root")): file.read_bytes() for file in files}


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        pytest.param([made(FILE, b"f", TMP), write(b"x"), *sync(FILE)], {}, id="name not synced"),
        pytest.param([made(FILE, b"f", TMP), write(b"x"), *sync(TMP)], {"tmp/f": b""}, id="empty"),
        pytest.param(
            [made(FILE, b"f", TMP), write(b"x"), *sync(FILE), *sync(TMP)],
            {"tmp/f": b"x"},
            id="kept",
        ),
        pytest.param(
            [made(FILE, b"f", TMP), *sync(TMP), sync(FILE)[0], write(b"x"), sync(FILE)[1]],
            {"tmp/f": b""},
            id="written during the sync",
        ),
        pytest.param(
            [made(FILE, b"f", TMP), *sync(TMP), write(b"x"), sync(FILE)[0]],
            {"tmp/f": b""},
            id="sync not ended",
        ),
        pytest.param(
            [made(FILE, b"f", TMP), *sync(TMP), RENAME, *sync(NEW)],
            {"tmp/f": b"", "new/f": b""},
            id="rename, target synced",
        ),
        pytest.param(
            [made(FILE, b"f", TMP), *sync(TMP), RENAME], {"tmp/f": b""}, id="rename, nothing synced"
        ),
        pytest.param(
            [made(FILE, b"f", TMP), *sync(TMP), record(Kind.UNLINK, extra=TMP, data=b"f")],
            {"tmp/f": b""},
            id="removal not synced",
        ),
    ],
)
def test_what_a_cut_leaves_for_certain(
    records: list[Record], expected: dict[str, bytes], tmp_path: Path
) -> None:
    assert image(records, tmp_path / "image") == expected


def test_a_rename_is_kept_or_undone_as_a_whole(tmp_path: Path) -> None:
    records = [made(FILE, b"f", TMP), *sync(TMP), RENAME]
    found = {tuple(image(records, tmp_path / str(seed), Mode.SUBSET, seed)) for seed in range(20)}
    assert found == {("tmp/f",), ("new/f",)}


def test_tearing_keeps_whole_sectors(tmp_path: Path) -> None:
    offset, length = 100, 3 * SECTOR
    old, new = b"o" * (offset + length), b"n" * length
    records = [made(FILE, b"f", TMP), *sync(TMP), write(old), *sync(FILE), write(new, offset)]
    patterns = set()
    for seed in range(40):
        content = image(records, tmp_path / str(seed), Mode.TEAR, seed)["tmp/f"]
        assert len(content) == len(old)
        sectors = [content[at : at + SECTOR] for at in range(0, len(content), SECTOR)]
        assert all(
            len(set(sector[offset if at == 0 else 0 :])) == 1 for at, sector in enumerate(sectors)
        )
        patterns.add(tuple(sector[-1:] for sector in sectors))
    assert len(patterns) > 4


def test_a_number_of_an_inode_that_is_used_again_is_another_file(tmp_path: Path) -> None:
    records = [
        *(made(FILE, b"f", TMP), write(b"x"), *sync(FILE), *sync(TMP)),
        *(record(Kind.UNLINK, extra=TMP, data=b"f"), made(FILE, b"g", TMP), write(b"y")),
        *(*sync(FILE), *sync(TMP)),
    ]
    assert image(records, tmp_path / "image") == {"tmp/g": b"y"}


def test_what_a_sync_failed_to_write_comes_back_only_by_writing_it_again(tmp_path: Path) -> None:
    records = [
        *(made(FILE, b"f", TMP), *sync(TMP), write(b"ab"), record(Kind.SYNC_FAILED, FILE)),
        *(write(b"c", 2), *sync(FILE)),
    ]
    assert image(records, tmp_path / "lost") == {"tmp/f": b"\0\0c"}
    records += [write(b"ab"), *sync(FILE)]
    assert image(records, tmp_path / "again") == {"tmp/f": b"abc"}
