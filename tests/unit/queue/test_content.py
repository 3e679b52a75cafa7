"""Stored content is verified when it is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from relevo.queue.content import CHUNK, ContentDamaged
from relevo.queue.store import Content
from unit.queue.samples import NOW, SMALL, message, opened, random_octets, read, run


def stored(directory: Path, size: int) -> tuple[Content, Path]:
    """Content that was added and read back as a lease; its file."""

    async def add() -> Content:
        async with opened(directory) as store:
            await store.add(message(random_octets(size)), lease=False)
            (unit,) = await store.lease(now=NOW, limit=1)
            return unit.content

    content = run(add())
    (path,) = (*(directory / "spool").glob("*.seg"), *(directory / "spool").glob("*.msg"))
    return content, path


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


KINDS = pytest.mark.parametrize("size", [5000, CHUNK * 2 + 5], ids=["segment", "file"])


@KINDS
def test_changed_octet_is_found_before_the_last_chunk(tmp_path: Path, size: int) -> None:
    content, path = stored(tmp_path, size)
    whole = read(content)
    flip(path, path.read_bytes().index(whole[:50]) + size // 2)
    given: list[bytes] = []
    with pytest.raises(ContentDamaged, match="sum"):
        given.extend(content.chunks())
    assert sum(map(len, given)) < size
    assert all(len(chunk) <= CHUNK for chunk in given)


@KINDS
@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(Path.unlink, id="gone"),
        pytest.param(lambda path: path.write_bytes(b""), id="empty"),
        pytest.param(lambda path: path.write_bytes(bytes(300_000)), id="zeros"),
        pytest.param(
            lambda path: path.write_bytes(path.read_bytes()[: SMALL.inline_size]), id="short"
        ),
    ],
)
def test_file_that_is_not_ours_any_more(
    tmp_path: Path, size: int, spoil: Callable[[Path], object]
) -> None:
    content, path = stored(tmp_path, size)
    spoil(path)
    with pytest.raises(ContentDamaged, match=path.name):
        read(content)
    with pytest.raises(ContentDamaged, match=path.name):
        content.first(10)
