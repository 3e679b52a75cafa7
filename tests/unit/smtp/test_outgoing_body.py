"""The octets of a message on their way out."""

from __future__ import annotations

import pytest

from relevo.smtp.outgoing_body import CHUNK_OCTETS, BareLineEnd, chunked, stuffed, whole_line_ends


@pytest.mark.parametrize(
    ("pieces", "wire"),
    [
        pytest.param([], b".\r\n", id="nothing"),
        pytest.param([b"", b""], b".\r\n", id="empty pieces"),
        pytest.param([b"x\r\n"], b"x\r\n.\r\n", id="one line"),
        pytest.param([b"x"], b"x\r\n.\r\n", id="no last line end"),
        pytest.param([b".x\r\n", b".y\r\n"], b"..x\r\n..y\r\n.\r\n", id="dots at line starts"),
        pytest.param([b"x", b".y\r\n"], b"x.y\r\n.\r\n", id="dot in a line, cut before it"),
        pytest.param([b"x\r", b"\n.y\r\n"], b"x\r\n..y\r\n.\r\n", id="CRLF cut in two"),
        pytest.param([b"x\r\n", b"", b"."], b"x\r\n..\r\n.\r\n", id="empty piece before a dot"),
    ],
)
def test_stuffed(pieces: list[bytes], wire: bytes) -> None:
    octets = list(stuffed(pieces))
    assert b"".join(piece for piece, _ in octets) == wire
    assert [is_last for _, is_last in octets] == [False] * (len(octets) - 1) + [True]


@pytest.mark.parametrize("data", [b"", b".", b"x", b"x\r\n", b".x\r\n.y", b"a\r\n..\r\n\r\n"])
def test_a_message_in_memory_leaves_with_its_end_mark(data: bytes) -> None:
    (only,) = stuffed((data,))
    assert only == (b"".join(piece for piece, _ in stuffed([data])), True)


@pytest.mark.parametrize("data", [b"a\nb", b"a\r", b"\rb\r\n"])
def test_a_message_in_memory_is_looked_at_too(data: bytes) -> None:
    with pytest.raises(BareLineEnd):
        next(stuffed((data,)))


def test_small_pieces_are_put_together_to_chunks() -> None:
    line = b"x" * 998 + b"\r\n"
    chunks = list(chunked([line] * 100, is_binary=False))
    size = -(-CHUNK_OCTETS // 1000) * 1000
    assert [chunk.partition(b"\r\n")[0] for chunk, _ in chunks] == [
        b"BDAT %d" % size,
        b"BDAT %d LAST" % (100_000 - size),
    ]
    assert [is_last for _, is_last in chunks] == [False, True]


def test_only_a_binary_body_may_hold_bare_line_ends() -> None:
    assert list(chunked([b"\n\r"], is_binary=True)) == [(b"BDAT 2 LAST\r\n\n\r", True)]
    with pytest.raises(BareLineEnd):
        list(chunked([b"\n\r"], is_binary=False))


def test_pieces_never_end_within_a_line_end() -> None:
    assert list(whole_line_ends([b"a\r", b"", b"\nb", b"\r", b"\n"])) == [b"a", b"\r\nb", b"\r\n"]
