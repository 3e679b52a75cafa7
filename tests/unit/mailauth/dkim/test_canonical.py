"""Canonical forms, by the examples of RFC 6376 §3.4 and at the edges of pieces."""

from __future__ import annotations

import pytest

from relevo.mailauth.dkim.canonical import BodyCanonicalizer, Canonicalization, canonical_field

SIMPLE, RELAXED = Canonicalization.SIMPLE, Canonicalization.RELAXED


def canonical(form: Canonicalization, *pieces: bytes) -> bytes:
    found: list[bytes] = []
    canonicalizer = BodyCanonicalizer(form, found.append)
    for piece in pieces:
        canonicalizer.add(piece)
    canonicalizer.finish()
    return b"".join(found)


def test_the_example_of_the_rfc() -> None:
    """§3.4.5."""
    body = b" C \r\nD \t E\r\n\r\n\r\n"
    assert canonical(RELAXED, body) == b" C\r\nD E\r\n"
    assert canonical(SIMPLE, body) == b" C \r\nD \t E\r\n"
    assert canonical_field(b"A: X", RELAXED) == b"a:X"
    assert canonical_field(b"B : Y\t\r\n\tZ  ", RELAXED) == b"b:Y Z"
    assert canonical_field(b"B : Y\t\r\n\tZ  ", SIMPLE) == b"B : Y\t\r\n\tZ  "


@pytest.mark.parametrize("body", [b"", b"\r\n", b"\r\n\r\n"])
def test_a_body_without_text_is_a_line_end_or_nothing(body: bytes) -> None:
    assert canonical(SIMPLE, body) == b"\r\n"
    assert canonical(RELAXED, body) == b""


def test_blank_lines_of_blanks_are_empty_in_the_relaxed_form_alone() -> None:
    assert canonical(RELAXED, b"a\r\n \t\r\n\r\n") == b"a\r\n"
    assert canonical(SIMPLE, b"a\r\n \t\r\n\r\n") == b"a\r\n \t\r\n"


@pytest.mark.parametrize("form", [SIMPLE, RELAXED])
def test_a_missing_line_end_is_added(form: Canonicalization) -> None:
    assert canonical(form, b"a") == b"a\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        (b"a \r", b"\n", b" ", b"\tb\r\n"),
        (b"a", b" ", b"\r", b"\n\t", b"b", b"\r\n"),
        (b"", b"a \r\n", b"  b\r", b"\n\r", b"\n\r\n "),
    ],
)
def test_pieces_may_end_anywhere(pieces: tuple[bytes, ...]) -> None:
    assert canonical(RELAXED, *pieces) == b"a\r\n b\r\n"


def test_empty_lines_are_kept_when_text_follows() -> None:
    lines = b"\r\n" * 20_000
    assert canonical(SIMPLE, b"a" + lines, lines + b"b") == b"a" + lines + lines + b"b\r\n"


def test_what_may_be_the_end_is_not_kept_as_octets() -> None:
    canonicalizer = BodyCanonicalizer(RELAXED, lambda _data: None)
    canonicalizer.add(b"a")
    for _ in range(50):
        canonicalizer.add(b"  \r\n" * 1000 + b" " * 1000)
    assert len(canonicalizer._tail) <= 2


@pytest.mark.parametrize("bare", [b"\r", b"\n", b"\r\r"])
def test_a_bare_line_end_is_no_line_end(bare: bytes) -> None:
    assert canonical(SIMPLE, b"a" + bare + b"\r\n\r\n") == b"a" + bare + b"\r\n"


def test_names_lose_their_letter_case_and_values_do_not() -> None:
    assert canonical_field(b"SubJect:  A \t b", RELAXED) == b"subject:A b"
