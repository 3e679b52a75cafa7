"""Stored messages opened again for hooks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from relevo.queue.store import Content, MemoryContent
from relevo.reception.reopened import IN_MEMORY, JoinedContent, Reopened

HEAD = b"Received: here\r\nSubject: s\r\n\r\n"
LARGE = HEAD + b"line\r\n" * IN_MEMORY
SMALL = HEAD + b"line\r\n"


def read(content: Content) -> bytes:
    return b"".join(content.chunks())


@pytest.mark.parametrize("octets", [SMALL, LARGE])
def test_hooks_see_all_of_it(octets: bytes) -> None:
    opened = Reopened.read(MemoryContent(octets), header_size=1000)
    message = opened.message()
    assert b"".join(message.pieces()) == octets
    assert message.size == len(octets)
    assert message.start == (SMALL if octets is SMALL else HEAD)


@pytest.mark.parametrize("octets", [SMALL, LARGE])
def test_a_field_on_top_is_stored_with_the_rest(octets: bytes) -> None:
    opened = Reopened.read(MemoryContent(octets), header_size=1000)
    changed = opened.with_start(b"X-New: 1\r\n" + opened.start, is_all=False)
    assert read(changed) == b"X-New: 1\r\n" + octets
    assert changed.size == len(octets) + 10
    for length in (5, 30, len(HEAD) + 15, changed.size + 5):
        assert changed.first(length) == read(changed)[:length]


def test_what_nobody_changed_is_not_copied() -> None:
    content = MemoryContent(LARGE)
    opened = Reopened.read(content, header_size=1000)
    assert opened.with_start(opened.start, is_all=False) is content


def test_a_new_body_takes_the_place_of_all() -> None:
    opened = Reopened.read(MemoryContent(LARGE), header_size=1000)
    assert read(opened.with_start(HEAD + b"new\r\n", is_all=True)) == HEAD + b"new\r\n"


class Pieces:
    """Content that comes in three pieces."""

    size = 9

    def chunks(self) -> Iterator[bytes]:
        yield from (b"abc", b"def", b"ghi")

    def first(self, octets: int) -> bytes:
        return b"abcdefghi"[:octets]


def test_joined_content_skips_over_pieces() -> None:
    assert read(JoinedContent(b"X", Pieces(), 4)) == b"Xefghi"
