"""CRLF to LF, however the octets are cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relevo.delivery.line_ends import to_lf


def test_crlf_becomes_lf() -> None:
    assert b"".join(to_lf([b"a\r\nb\r\n\r\n"])) == b"a\nb\n\n"


def test_crlf_cut_between_pieces() -> None:
    assert b"".join(to_lf([b"a\r", b"\nb\r", b"", b"\r", b"\n"])) == b"a\nb\r\n"


def test_cr_at_the_very_end_stays() -> None:
    assert b"".join(to_lf([b"a\r"])) == b"a\r"


@given(st.lists(st.text("a\r\n", max_size=6).map(str.encode), max_size=8))
def test_cutting_does_not_matter(pieces: list[bytes]) -> None:
    assert b"".join(to_lf(pieces)) == b"".join(pieces).replace(b"\r\n", b"\n")
