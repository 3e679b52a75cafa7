"""Replies of a server, read with bounds (RFC 5321 §4.2; RFC 2034 for the enhanced code).

A server is as little to be trusted as a client: a line has at most 4,096 octets, a reply at most
100 lines. A bare LF ends a line too: nothing but a reply stands here, so nothing can be smuggled.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from relevo.smtp.client_events import FailureKind, ServerReply
from relevo.smtp.replies import clean

if TYPE_CHECKING:
    from relevo.smtp.buffer import InputBuffer

MAX_REPLY_LINE: Final = 4096  # octets, line end included
MAX_REPLY_LINES: Final = 100
# Reply-code = %x32-35 %x30-35 %x30-39, then "-", SP or the end of the line (RFC 5321 §4.2)
_LINE: Final = re.compile(rb"([2-5][0-5][0-9])(?:([ -])(.*))?", re.DOTALL)
_USUAL: Final = re.compile(
    r"([2-5][0-5][0-9])(?: (?:([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: +|(?=\r)))?([ -~]*))?\r\n"
)
_MOST_KNOWN: Final = 120  # octets of a line
# status-code = ("2"/"4"/"5") "." 1*3digit "." 1*3digit (RFC 2034 §4)
_ENHANCED: Final = re.compile(r"([245])\.([0-9]{1,3})\.([0-9]{1,3})(?: +|\Z)")


class ReplyReader:
    """Puts lines together to replies."""

    __slots__ = ("_code", "_lines")

    def __init__(self) -> None:
        self._code = 0
        self._lines: list[str] = []

    def read(self, buffer: InputBuffer) -> ServerReply | FailureKind | None:
        """The next whole reply, None when more octets are needed, or what is wrong."""
        while True:
            line = buffer.take_line()
            if (len(buffer) if line is None else len(line)) > MAX_REPLY_LINE:
                return FailureKind.REPLY_TOO_LONG
            if line is None:
                return None
            if not self._lines and len(line) <= _MOST_KNOWN:
                known = _usual_reply(line)
                if known is not None:
                    return known
            match = _LINE.fullmatch(line[:-1].removesuffix(b"\r"))
            if match is None or (self._lines and int(match[1]) != self._code):
                return FailureKind.MALFORMED_REPLY
            if len(self._lines) == MAX_REPLY_LINES:
                return FailureKind.REPLY_TOO_LONG
            self._code = int(match[1])
            self._lines.append(clean((match[3] or b"").decode(errors="replace")))
            if match[2] != b"-":
                return self._finish()

    def _finish(self) -> ServerReply:
        code, lines, enhanced = self._code, self._lines, ""
        self._lines = []
        first = _ENHANCED.match(lines[0])
        if first and first[1] == str(code // 100):
            enhanced = ".".join(first.groups())
            lines = [_ENHANCED.sub("", line, count=1) if _ENHANCED.match(line) else line
                     for line in lines]  # fmt: skip
        return ServerReply(code, enhanced, tuple(lines))


@lru_cache(maxsize=1024)  # a server says the same to each MAIL, RCPT and DATA
def _usual_reply(line: bytes) -> ServerReply | None:
    """A reply of one line of ASCII; None: it is to be read with more care."""
    match = _USUAL.fullmatch(line.decode("latin-1"))
    if match is None:
        return None
    code, enhanced, text = match.groups("")
    if enhanced and enhanced[0] != code[0]:
        return None
    return ServerReply(int(code), enhanced, (text,))
