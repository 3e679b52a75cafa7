"""Which fields a signature covers, and its own with an empty b=."""

from __future__ import annotations

import pytest

from relevo.mailauth.dkim.canonical import Canonicalization
from relevo.mailauth.dkim.fields import (
    MAX_LINES,
    HeaderFields,
    TooManyFields,
    signed_octets,
    without_signature,
)

HEAD = b"A: 1\r\nB: 2\r\n\tfolded\r\na: 3\r\nC : 4\r\n"


def covered(*names: bytes) -> list[bytes]:
    return HeaderFields(HEAD).covered(names, Canonicalization.SIMPLE)


def test_a_name_stands_for_the_lowest_field_and_then_for_those_above() -> None:
    assert covered(b"a", b"b", b"a") == [b"a: 3", b"B: 2\r\n\tfolded", b"A: 1"]


def test_a_name_without_a_field_stands_for_nothing() -> None:
    assert covered(b"a", b"a", b"a", b"x") == [b"a: 3", b"A: 1"]


def test_blanks_before_the_colon_belong_to_no_name() -> None:
    assert covered(b"c") == [b"C : 4"]


@pytest.mark.parametrize(
    ("field", "emptied"),
    [
        (b"S: a=b; b=xyz; c=d", b"S: a=b; b=; c=d"),
        (b"S: b = x\r\n y ;c=d", b"S: b =;c=d"),
        (b"S: bh=1;b=2", b"S: bh=1;b="),
        (b"S: a=b=c; ab=3;\r\n\tb=x y\r\n z", b"S: a=b=c; ab=3;\r\n\tb="),
    ],
)
def test_only_the_value_of_b_goes(field: bytes, emptied: bytes) -> None:
    assert without_signature(field) == emptied


def test_the_own_field_is_last_and_has_no_line_end() -> None:
    octets = signed_octets(HeaderFields(HEAD), (b"a",), b"S: b=x", Canonicalization.RELAXED)
    assert octets == b"a:3\r\ns:b="


def test_a_head_of_very_many_lines_is_refused() -> None:
    with pytest.raises(TooManyFields):
        HeaderFields(b"a:\r\n" * (MAX_LINES + 1))
