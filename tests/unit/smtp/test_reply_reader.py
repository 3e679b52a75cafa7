"""Replies of one line are read alike, whether they are known or read with care."""

from __future__ import annotations

import itertools

import pytest

from relevo.smtp import reply_reader
from relevo.smtp.buffer import InputBuffer
from relevo.smtp.client_events import FailureKind, ServerReply
from relevo.smtp.reply_reader import ReplyReader

CODES = (b"250", b"550", b"421", b"354", b"99", b"199", b"660", b"2500", b"abc")
SEPARATORS = (b"", b" ", b"-", b"  ", b"\t")
ENHANCED = (b"", b"2.0.0", b"2.1.5 ", b"5.1.1  ", b"2.0.0x", b"2.0.1234 ", b"4.7.")
TEXTS = (b"", b"ok", b"a b ", b"caf\xc3\xa9", b"\x00bell\x07", b"x\ry", b"2.0.0 twice", b"\xff")
ENDS = (b"\r\n", b"\n", b"\r\r\n")


def read(wire: bytes) -> list[ServerReply | FailureKind | None]:
    buffer, reader = InputBuffer(), ReplyReader()
    buffer.append(wire)
    first = reader.read(buffer)
    return [first, reader.read(buffer)] if isinstance(first, ServerReply) else [first]


def test_known_replies_are_what_careful_reading_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    wires = [
        b"".join(parts) for parts in itertools.product(CODES, SEPARATORS, ENHANCED, TEXTS, ENDS)
    ]
    quick = [read(wire) for wire in wires]
    monkeypatch.setattr(reply_reader, "_MOST_KNOWN", 0)
    for wire, found in zip(wires, quick, strict=True):
        assert read(wire) == found, wire


def test_a_line_that_follows_others_is_no_reply_of_its_own() -> None:
    assert read(b"250 one\r\n")[0] == ServerReply(250, "", ("one",))
    assert read(b"250-one\r\n250 one\r\n")[0] == ServerReply(250, "", ("one", "one"))
    assert read(b"250-one\r\n550 one\r\n") == [FailureKind.MALFORMED_REPLY]
