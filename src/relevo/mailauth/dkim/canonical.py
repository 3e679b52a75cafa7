"""Canonical forms (RFC 6376 §3.4): what of a message a signature is about.

Header fields are whole octets; a body comes in pieces of any size and is never held. Only CRLF
ends a line; a bare CR or LF is an octet like any other. No loop over lines: a body costs a few
passes of bytes operations.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum

_BREAKS = b"\r\n" * 8192
_BARE = re.compile(rb"\r(?!\n|\Z)|(?<!\r)\n")


class Canonicalization(Enum):
    """The values are the words of the c= tag."""

    SIMPLE = "simple"
    RELAXED = "relaxed"


def canonical_field(raw: bytes, form: Canonicalization) -> bytes:
    """A field without the CRLF behind it, as it came, in its canonical form, without CRLF."""
    if form is Canonicalization.SIMPLE:
        return raw
    name, _, value = raw.partition(b":")
    if b"\r\n" in value:
        value = value.replace(b"\r\n", b"")
    if b"\t" in value or b"  " in value:
        value = _single_blanks(value)
    return name.rstrip(b" \t").lower() + b":" + value.strip(b" ")


def _single_blanks(text: bytes) -> bytes:
    """Each run of blanks and tabs is one blank."""
    if b"\t" in text:
        text = text.replace(b"\t", b" ")
    while b"  " in text:  # each round halves the runs
        text = text.replace(b"  ", b" ")
    return text


class BodyCanonicalizer:
    """Hands the canonical form of a body on, piece by piece.

    Kept between pieces is only what may turn out to be the end of the body: how many line ends,
    and at most two octets behind them.
    """

    __slots__ = ("_breaks", "_emit", "_has_content", "_is_relaxed", "_strip", "_tail")

    def __init__(self, form: Canonicalization, emit: Callable[[bytes], None]) -> None:
        self._is_relaxed = form is Canonicalization.RELAXED
        self._strip = b" \t\r\n" if self._is_relaxed else b"\r\n"
        self._emit = emit
        self._tail = b""
        self._breaks = 0
        self._has_content = False

    def add(self, data: bytes) -> None:
        """More of the body."""
        if self._tail:
            data = self._tail + data
        content = data.rstrip(self._strip)
        rest = data[len(content) :]
        breaks = rest.count(b"\r\n")
        half = rest.endswith(b"\r")
        if rest.count(b"\n") != breaks or rest.count(b"\r") - half != breaks:
            end = max(match.end() for match in _BARE.finditer(rest))
            content, rest = data[: len(content) + end], rest[end:]
            breaks = rest.count(b"\r\n")
        if content:
            self._emit_breaks()
            self._emit(self._reduced(content))
            self._has_content = True
        self._breaks += breaks
        if breaks:
            rest = rest[rest.rfind(b"\r\n") + 2 :]
        blank = b" " if len(rest) > half else b""
        self._tail = blank + b"\r" if half else blank

    def finish(self) -> None:
        """The body is complete: its last line end, but no empty lines behind it."""
        if self._tail.endswith(b"\r"):
            self._emit_breaks()
            self._emit(self._tail)
            self._has_content = True
        if self._has_content or not self._is_relaxed:
            self._emit(b"\r\n")

    def _emit_breaks(self) -> None:
        while self._breaks:
            now = min(self._breaks, len(_BREAKS) // 2)
            self._emit(_BREAKS[: 2 * now])
            self._breaks -= now

    def _reduced(self, content: bytes) -> bytes:
        if not self._is_relaxed:
            return content
        content = _single_blanks(content)
        return content.replace(b" \r\n", b"\r\n") if b" \r\n" in content else content
