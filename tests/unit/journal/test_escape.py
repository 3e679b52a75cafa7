"""Escapes are Go's, and nothing printable changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.journal.escape import escape, without_blanks


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ('plain añ 日本 \\ "', 'plain añ 日本 \\ "'),
        ("a\nb\r\t\a\b\f\v", r"a\nb\r\t\a\b\f\v"),
        ("\x1b[31m\x00\x7f", r"\x1b[31m\x00\x7f"),
        ("\x85\u2028\u202e\ufeff", r"\u0085\u2028\u202e\ufeff"),
        ("\udcff", r"\udcff"),
        ("\U000e0001", r"\U000e0001"),
    ],
)
def test_unprintable_characters_are_written_out(text: str, escaped: str) -> None:
    assert escape(text) == escaped


def test_blanks_of_a_word() -> None:
    assert without_blanks("a b@c") == r"a\x20b@c"


@given(st.text())
def test_result_is_printable_and_stable(text: str) -> None:
    assert escape(text).isprintable()
    assert escape(escape(text)) == escape(text)
