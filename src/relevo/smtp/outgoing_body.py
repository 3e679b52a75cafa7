"""The octets of a message on their way out: dot-stuffed for DATA, cut into chunks for BDAT.

The one place that every message leaves by, so the place that makes sure that none carries a bare
CR or LF (but BINARYMIME): `BareLineEnd` is raised before the octet is handed out. The message
cannot be ended well then; the connection must be closed without its end mark.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from relevo.smtp.framing import has_only_crlf, stuff

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


CHUNK_OCTETS: Final = 65536  # smaller pieces are put together to chunks of at least this


class BareLineEnd(ValueError):
    """The body given to send has a CR or LF of its own."""


def stuffed(body: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """`body` as DATA sends it, with a last CRLF where it has none; the end mark is the last.

    A body of one piece in memory (a tuple) leaves together with its end mark.
    """
    if isinstance(body, tuple) and len(body) == 1:
        if not has_only_crlf(body[0]):
            raise _bare()
        yield stuff(body[0]), True
        return
    at_line_start = True
    for piece in whole_line_ends(body):
        octets = piece.replace(b"\r\n.", b"\r\n..")
        if at_line_start and octets.startswith(b"."):
            octets = b"." + octets
        at_line_start = piece.endswith(b"\r\n")
        yield octets, False
    yield b".\r\n" if at_line_start else b"\r\n.\r\n", True


def chunked(body: Iterable[bytes], *, is_binary: bool) -> Iterator[tuple[bytes, bool]]:
    """`body` as BDAT commands with their octets, the last with LAST."""
    held: list[bytes] = []
    size = 0
    for piece in body if is_binary else whole_line_ends(body):
        if size >= CHUNK_OCTETS:
            yield b"BDAT %d\r\n" % size + b"".join(held), False
            held.clear()
            size = 0
        held.append(piece)
        size += len(piece)
    yield b"BDAT %d LAST\r\n" % size + b"".join(held), True


def whole_line_ends(body: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces, none empty, cut so that no CRLF spans two; BareLineEnd on any other CR or LF."""
    carry = b""
    for raw in body:
        piece = carry + raw if carry else raw
        carry = b"\r" if piece.endswith(b"\r") else b""
        if carry:
            piece = piece[:-1]
        if not has_only_crlf(piece):
            raise _bare()
        if piece:
            yield piece
    if carry:
        raise BareLineEnd("an outgoing message ends in CR")


def _bare() -> BareLineEnd:
    return BareLineEnd("bare CR or LF in an outgoing message")
