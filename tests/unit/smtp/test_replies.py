"""Replies on the wire, and the table of fixed ones."""

from __future__ import annotations

import re

import pytest

from relevo.smtp.replies import MAX_LINES, Fixed, render, render_lines


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("ok", b"250 2.0.0 ok\r\n", id="plain"),
        pytest.param("mañana", "250 2.0.0 mañana\r\n".encode(), id="UTF-8 is kept"),
        pytest.param("a\nb", b"250-2.0.0 a\r\n250 2.0.0 b\r\n", id="two lines"),
        pytest.param("a\r\n\nb\n", b"250-2.0.0 a\r\n250 2.0.0 b\r\n", id="empty lines go"),
        pytest.param("a\x1b[0m\0b\rc", b"250 2.0.0 a[0mbc\r\n", id="controls go"),
        pytest.param("a\tb", b"250 2.0.0 a b\r\n", id="tab is a blank"),
        pytest.param("a\u2028b\x85c", b"250 2.0.0 abc\r\n", id="other line ends go"),
        pytest.param("a\ud800b", b"250 2.0.0 ab\r\n", id="half of a surrogate pair goes"),
        pytest.param("\n\n", b"250 2.0.0 \r\n", id="nothing left"),
    ],
)
def test_render(text: str, expected: bytes) -> None:
    assert render(250, "2.0.0", text) == expected


def test_no_enhanced_code_where_none_is_given() -> None:
    assert render(220, "", "mx.test") == b"220 mx.test\r\n"


@pytest.mark.parametrize("text", ["x" * 501, "x" * 502, "x" * 300_000, "ñ" * 300_000, "€" * 507])
def test_a_line_has_at_most_512_octets_and_ends_at_a_character(text: str) -> None:
    line = render(554, "5.7.1", text)
    assert 505 < len(line) <= 512
    assert line.endswith(b"\r\n")
    assert line.decode().count("\r\n") == 1


def test_a_reply_has_a_bounded_number_of_lines() -> None:
    lines = render(554, "5.7.1", "x\n" * 10_000).splitlines()
    assert len(lines) == MAX_LINES
    assert all(line[3:4] == b"-" for line in lines[:-1])
    assert lines[-1].startswith(b"554 ")


def test_lines_of_their_own() -> None:
    assert render_lines(250, ["mx", "HELP"]) == b"250-mx\r\n250 HELP\r\n"


@pytest.mark.parametrize("fixed", list(Fixed), ids=lambda fixed: fixed.name)
def test_each_fixed_reply_is_sound(fixed: Fixed) -> None:
    reply = fixed.value
    assert reply.text.isascii()
    assert reply.text.isprintable()
    assert len(reply.text) < 100
    if reply.enhanced:
        assert re.fullmatch(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}", reply.enhanced)
        assert reply.enhanced[0] == str(reply.code)[0]
    else:
        assert reply.code in {354, 501}, "only the hello commands and 354 go without"


def test_no_two_fixed_replies_are_the_same() -> None:
    assert len(Fixed.__members__) == len(list(Fixed))
