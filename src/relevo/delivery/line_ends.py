"""CRLF to LF, for Maildir files and the stdin of pipe commands.

The stored form of a message has CRLF line ends, and nothing else ends a line in it. Works piece by
piece on whole pieces; a CR that ends a piece waits for the next one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def to_lf(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same octets with LF for each CRLF; a CR or LF alone stays as it is."""
    held = b""
    for piece in pieces:
        joined = held + piece if held else piece
        held = b""
        if joined.endswith(b"\r"):
            held, joined = b"\r", joined[:-1]
        if joined:
            yield joined.replace(b"\r\n", b"\n")
    if held:
        yield held
