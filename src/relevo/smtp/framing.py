"""Where a message ends on the wire and what it holds: DATA (RFC 5321 §4.5.2) and BDAT (RFC 3030).

Only CRLF ends a line. Any other CR or LF, before the end or in the end mark itself, is
`Status.BAD_LINE_END`, so that no two servers can disagree on where a message ends. What is decided
depends on the stream alone, never on how it was cut into reads: a read that ends inside a possible
CRLF or end mark leaves at most two octets in the buffer.

No loop runs over lines: a block is searched, counted and replaced as a whole.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from relevo.smtp.buffer import InputBuffer

_END: Final = b"\r\n.\r\n"
_SHORT_LINE: Final = 20  # octets
_BAD_LINE_END: Final = re.compile(rb"\r[^\n]|(?<!\r)\n", re.DOTALL)


class Status(Enum):
    """What a read of the body came to."""

    OPEN = auto()  # more octets are needed
    COMPLETE = auto()  # DATA: the end mark was read; BDAT: the chunk was
    BAD_LINE_END = auto()


def stuff(data: bytes) -> bytes:
    """A whole message of CRLF lines as DATA sends it, end mark included."""
    stuffed = data.replace(b"\r\n.", b"\r\n..")
    if stuffed.startswith(b"."):
        stuffed = b"." + stuffed
    if stuffed and not stuffed.endswith(b"\r\n"):
        stuffed += b"\r\n"
    return stuffed + b".\r\n"


def has_only_crlf(data: bytes) -> bool:
    """Whether each CR is followed by LF and each LF preceded by CR.

    Without its CRs and then with one before each LF, the data is what it was: both are searches
    for one octet, which C does a word at a time, where a count looks at each octet. With short
    lines the counts are faster; how many lines there are is found out by the way.
    """
    most = len(data) // _SHORT_LINE + 1
    without = data.replace(b"\r", b"", most)
    if len(data) - len(without) < most:
        return without.replace(b"\n", b"\r\n", most) == data
    pairs = data.count(b"\r\n")
    return data.count(b"\n") == pairs and data.count(b"\r") == pairs


class DataReader:
    """Reads one message after 354.

    `wire_size` counts octets from after the 354 up to and including the final `.` CRLF.
    Over `max_size` (0: none) `is_oversize` is set at once and the rest is read for its end only.
    """

    __slots__ = ("_at_line_start", "_max_size", "is_oversize", "wire_size")

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._at_line_start = True
        self.wire_size = 0
        self.is_oversize = False

    @property
    def is_dropping(self) -> bool:
        """Nothing of it is kept any more."""
        return self.is_oversize

    def read(self, buffer: InputBuffer) -> tuple[bytes, Status]:
        """Take what can be taken: un-stuffed octets of the message, and where it stands."""
        octets, start = buffer.octets, buffer.start
        at_line_start = self._at_line_start
        if at_line_start and octets.startswith(b".\r\n", start):
            body, end_mark = b"", 3
        else:
            found = octets.find(_END, start)
            if found >= 0:
                body, end_mark = buffer.take(found + 2 - start), 3
            else:
                body, end_mark = buffer.take(len(buffer) - self._held(octets, start)), 0
        if body and not has_only_crlf(body):
            return b"", self._refuse(body)
        self.wire_size += len(body) + end_mark
        pending = 0 if end_mark else len(buffer)
        if self._max_size and self.wire_size + pending > self._max_size:
            self.is_oversize = True
        if end_mark:
            buffer.skip(end_mark)
            status = Status.COMPLETE
        else:
            status = Status.OPEN
        if not body:
            return b"", status
        self._at_line_start = body.endswith(b"\r\n")
        return (b"" if self.is_oversize else _unstuff(body, at_line_start=at_line_start)), status

    def _held(self, octets: bytes | bytearray, start: int) -> int:
        """How many of the last octets may still become a CRLF or the end mark."""
        if octets.endswith(b"\r", start):
            if octets.endswith(b"\r\n.\r", start) or self._is_all(octets, start, b".\r"):
                return 2
            return 1
        if octets.endswith(b"\r\n.", start) or self._is_all(octets, start, b"."):
            return 1
        return 0

    def _is_all(self, octets: bytes | bytearray, start: int, mark: bytes) -> bool:
        return self._at_line_start and len(octets) - start == len(mark) and octets.endswith(mark)

    def _refuse(self, body: bytes) -> Status:
        # The limit counts too when it was crossed by an octet before the one that decides.
        self.is_oversize |= _crosses(body, self.wire_size, self._max_size)
        return Status.BAD_LINE_END


class ChunkReader:
    """Reads the chunks of one BDAT message; `wire_size` counts their octets.

    A message over `max_size` (0: none) is known by the size of a chunk: `begin` says so, the
    octets of that chunk are read and dropped.
    """

    __slots__ = ("_ends_in_cr", "_is_binary", "_left", "_max_size", "chunks", "is_dropping",
                 "is_last", "is_oversize", "wire_size")  # fmt: skip

    def __init__(self, max_size: int, *, is_binary: bool) -> None:
        self._max_size = max_size
        self._is_binary = is_binary
        self._left = 0
        self._ends_in_cr = False
        self.wire_size = 0
        self.chunks = 0
        self.is_last = False
        self.is_oversize = False
        self.is_dropping = False

    def begin(self, size: int, *, is_last: bool) -> None:
        """A BDAT command came."""
        self._left = size
        self.is_last = is_last
        self.chunks += 1
        if self._max_size and self.wire_size + size > self._max_size:
            self.is_oversize = self.is_dropping = True
        self.wire_size += size

    def drop(self) -> None:
        """Read the present chunk, keep nothing of it."""
        self.is_dropping = True

    @property
    def has_too_many_chunks(self) -> bool:
        """Counts are bounded as well as octets: many tiny chunks cost more than they carry."""
        return self.chunks > 1000 + self.wire_size // 1024

    def read(self, buffer: InputBuffer) -> tuple[bytes, Status]:
        """Take what there is of the present chunk."""
        if self.is_dropping:
            count = min(self._left, len(buffer))
            buffer.skip(count)
            self._left -= count
            return b"", Status.OPEN if self._left else Status.COMPLETE
        data = buffer.take(self._left) if self._left else b""
        self._left -= len(data)
        status = Status.OPEN if self._left else Status.COMPLETE
        if self._is_binary:
            return data, status
        if self._ends_in_cr and data:
            data, self._ends_in_cr = b"\r" + data, False
        is_end = self.is_last and not self._left
        if data.endswith(b"\r") and not is_end:
            data, self._ends_in_cr = data[:-1], True
        if (self._ends_in_cr and is_end) or not has_only_crlf(data):
            return b"", Status.BAD_LINE_END
        return data, status


def _unstuff(body: bytes, *, at_line_start: bool) -> bytes:
    if at_line_start and body.startswith(b"."):
        body = body[1:]
    return body.replace(b"\r\n.", b"\r\n")  # returns `body` itself when there is none


def _crosses(body: bytes, wire_size: int, max_size: int) -> bool:
    bad = _BAD_LINE_END.search(body)
    decided_at = bad.end() - 1 if bad else len(body)  # none: a CR at the end, and no LF behind it
    return bool(max_size) and wire_size + decided_at > max_size
