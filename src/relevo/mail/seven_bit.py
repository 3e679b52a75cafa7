"""A message rewritten for a server that takes only ASCII lines (RFC 6152 §3, RFC 2045 §6).

Each part whose octets need it gets Content-Transfer-Encoding quoted-printable, or base64 where it
is binary; all other octets stay as they are. What must not or cannot be rewritten is said by
`CannotConvert`: octets beyond ASCII in a header block, between parts, in a signed or encrypted
multipart, in a message/* part other than message/rfc822, or under an encoding that has none.

Input is a message of anybody: nesting and the number of parts are bounded.
"""

from __future__ import annotations

import base64
import binascii
import re
from email.message import Message
from typing import Final

from relevo.mail.header_block import field_values, has_field, replace_field, split_head

MAX_DEPTH: Final = 30
MAX_PARTS: Final = 10_000
_ENCODING: Final = "Content-Transfer-Encoding"
_TO_ENCODE: Final = frozenset({"", "7bit", "8bit", "binary"})


class CannotConvert(ValueError):
    """The message has to stay as it is; the text says why, and is public."""


def to_seven_bit(message: bytes, *, keeps_eight_bit: bool = False) -> bytes:
    """The message with ASCII lines only. Raises CannotConvert.

    `keeps_eight_bit`: only what is binary is rewritten (bare CR or LF, NUL).
    """
    return _Conversion(keeps_eight_bit=keeps_eight_bit).entity(message, 0)


class _Conversion:
    def __init__(self, *, keeps_eight_bit: bool) -> None:
        self._keeps_eight_bit = keeps_eight_bit
        self._parts = 0

    def entity(self, entity: bytes, depth: int) -> bytes:
        """A message or part: header block, blank line, body."""
        self._parts += 1
        if depth > MAX_DEPTH or self._parts > MAX_PARTS:
            raise CannotConvert("it has too many parts within parts")
        if self._may_stay(entity):
            return entity
        head, rest = split_head(entity)
        if not self._may_stay(head):
            raise CannotConvert("its header has octets beyond ASCII")
        body = rest[2:]
        content_type, boundary = _type_of(head)
        main, _, sub = content_type.partition("/")
        if main == "multipart":
            if sub in {"signed", "encrypted"}:
                raise CannotConvert(f"a part is multipart/{sub}")
            new = self._multipart(body, boundary, depth)
            return _with_encoding(head, "7bit" if new.isascii() else "8bit") + b"\r\n" + new
        encoding = _encoding_of(head)
        if encoding not in _TO_ENCODE:
            raise CannotConvert(f"a part has octets that {encoding or 'its encoding'} has not")
        if content_type == "message/rfc822":
            new = self.entity(body, depth + 1)
            return _with_encoding(head, "7bit" if new.isascii() else "8bit") + b"\r\n" + new
        if main == "message":
            raise CannotConvert(f"a part is {content_type}")
        return self._leaf(head, body)

    def _leaf(self, head: bytes, body: bytes) -> bytes:
        if is_text(body):
            return _with_encoding(head, "quoted-printable") + b"\r\n" + quoted_printable(body)
        lines = base64.encodebytes(body).replace(b"\n", b"\r\n")
        return _with_encoding(head, "base64") + b"\r\n" + lines

    def _multipart(self, body: bytes, boundary: bytes, depth: int) -> bytes:
        """The body with each part rewritten; delimiters and what is around them as it was."""
        if not boundary:
            raise CannotConvert("a multipart has no boundary")
        # the line end behind a delimiter may be the one before the next: a part may be empty
        delimiter = re.compile(rb"(?:\A|\r\n)--%b(--)?[ \t]*(?=\r\n|\Z)" % re.escape(boundary))
        pieces: list[bytes] = []
        at = 0
        is_inside = False
        for found in delimiter.finditer(body):
            pieces.append(self._between(body[at : found.start()], depth, is_part=is_inside))
            pieces.append(found[0])
            at = found.end()
            is_inside = found[1] is None
            if not is_inside:
                break
        pieces.append(self._between(body[at:], depth, is_part=is_inside))
        return b"".join(pieces)

    def _between(self, octets: bytes, depth: int, *, is_part: bool) -> bytes:
        """What stands between two delimiters: a part behind the line end of the first."""
        if not is_part:
            return self._outside(octets)
        return octets[:2] + self.entity(octets[2:], depth + 1)

    def _outside(self, text: bytes) -> bytes:
        if not self._may_stay(text):
            raise CannotConvert("it has octets beyond ASCII between its parts")
        return text

    def _may_stay(self, octets: bytes) -> bool:
        if not self._keeps_eight_bit and not octets.isascii():
            return False
        return is_text(octets)


def is_text(octets: bytes) -> bool:
    """CRLF lines without a NUL: no octets of a BINARYMIME message."""
    pairs = octets.count(b"\r\n")
    has_lines = octets.count(b"\n") == pairs and octets.count(b"\r") == pairs
    return has_lines and b"\0" not in octets


def quoted_printable(body: bytes) -> bytes:
    """CRLF lines in quoted-printable; decoding gives the same octets."""
    # b2a_qp looks at the first line end to see which kind to write for its soft ones
    encoded = binascii.b2a_qp(b"\r\n" + body, istext=True)
    return encoded[2:]


def _type_of(head: bytes) -> tuple[str, bytes]:
    """`type/subtype` in lower case, and the boundary parameter."""
    values = field_values(head, "Content-Type")
    if not values:
        return "text/plain", b""
    message = Message()
    message["Content-Type"] = values[0].decode("ascii", "replace")
    boundary = message.get_boundary("") or ""
    return message.get_content_type(), str(boundary).encode("ascii", "replace")


def _encoding_of(head: bytes) -> str:
    values = field_values(head, _ENCODING)
    return values[0].decode("ascii", "replace").lower() if values else ""


def _with_encoding(head: bytes, encoding: str) -> bytes:
    """The header block with this encoding said; absent means 7bit already."""
    if not has_field(head, _ENCODING):
        if encoding == "7bit":
            return head
        field = f"{_ENCODING}: {encoding}\r\n".encode()
        return head + field if head.endswith(b"\r\n") or not head else head + b"\r\n" + field
    return replace_field(head, _ENCODING, f"{_ENCODING}: {encoding}\r\n".encode())
