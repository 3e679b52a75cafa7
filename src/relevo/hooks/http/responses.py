"""Reading the answer: status, and a body that is as long as it may be and no longer (RFC 9112).

What two parsers could understand differently (two lengths, folded fields, a body with a length and
in chunks) is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from relevo.hooks.services.failures import ServiceFailed

if TYPE_CHECKING:
    from relevo.hooks.services.connection import Connection

MAX_HEAD: Final = 16 * 1024
_MAX_CHUNK_LINE: Final = 256
_MAX_CHUNKS: Final = 1000
"""Each costs time in which nobody else is served, however few octets it brings."""
_MAX_INTERIM: Final = 5
_MAX_TRAILERS: Final = 50
_STATUS_LINE = re.compile(r"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [^\r\n\0]*)?")
_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*)")
_BROKEN = "it does not answer in HTTP"
_INFORMATIONAL, _NO_CONTENT = 100, 204


@dataclass(frozen=True, slots=True)
class Head:
    """`length`: of the body; None: up to the end of the connection, or in chunks."""

    status: int
    length: int | None
    is_chunked: bool
    may_be_kept: bool


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer."""

    status: int
    body: bytes


def parse_head(octets: bytes) -> Head:
    """The head up to and with its blank line. Raises ServiceFailed."""
    first, *lines = octets.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    status_line = _STATUS_LINE.fullmatch(first)
    if status_line is None:
        raise ServiceFailed(_BROKEN)
    minor, status = status_line[1], int(status_line[2])
    fields: dict[str, str] = {}
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise ServiceFailed(_BROKEN)
        name, value = field[1].lower(), field[2].rstrip(" \t")
        if name in {"content-length", "transfer-encoding"} and name in fields:
            raise ServiceFailed(f"its answer has two fields {field[1]}")
        fields[name] = value
    coding, length = fields.get("transfer-encoding"), fields.get("content-length")
    if coding is not None and (length is not None or coding.lower() != "chunked"):
        raise ServiceFailed(f"its answer has the transfer coding {coding[:40]!r}")
    if length is not None and not (length.isascii() and length.isdecimal() and len(length) < 16):
        raise ServiceFailed("its answer has a length that is no number")
    size = None if length is None else int(length)
    if status // 100 == 1 or status in {_NO_CONTENT, 304}:
        size, coding = 0, None
    words = {word.strip() for word in fields.get("connection", "").lower().split(",")}
    is_framed = size is not None or coding is not None
    keeps = "keep-alive" in words if minor == "0" else "close" not in words
    return Head(status, size, coding is not None, is_framed and keeps)


async def read_response(connection: Connection, limit: int) -> Response:
    """The answer, with at most `limit` octets of body. Raises ServiceFailed."""
    for _ in range(_MAX_INTERIM):
        head = parse_head(await connection.through(b"\r\n\r\n", MAX_HEAD))
        if head.status // 100 != 1:
            break
    else:
        raise ServiceFailed(_BROKEN)
    if head.is_chunked:
        body = await _read_chunks(connection, limit)
    elif head.length is None:
        body = await connection.rest(limit)
    elif head.length > limit:
        raise ServiceFailed(f"its answer is longer than {limit} octets")
    else:
        body = await connection.exactly(head.length)
    connection.may_be_kept = head.may_be_kept
    return Response(head.status, body)


async def _read_chunks(connection: Connection, limit: int) -> bytes:
    body = b""
    for number_of in range(_MAX_CHUNKS + 1):
        if number_of == _MAX_CHUNKS:
            raise ServiceFailed(f"its answer comes in more than {_MAX_CHUNKS} chunks")
        line = await connection.through(b"\r\n", _MAX_CHUNK_LINE)
        number = line.partition(b";")[0].strip()
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,8}", number):
            raise ServiceFailed("its answer has a broken chunk")
        size = int(number, 16)
        if not size:
            break
        if len(body) + size > limit:
            raise ServiceFailed(f"its answer is longer than {limit} octets")
        chunk = await connection.exactly(size + 2)
        if not chunk.endswith(b"\r\n"):
            raise ServiceFailed("its answer has a broken chunk")
        body += chunk[:-2]
    for _ in range(_MAX_TRAILERS):
        if await connection.through(b"\r\n", MAX_HEAD) == b"\r\n":
            return body
    raise ServiceFailed("its answer has too many trailers")
