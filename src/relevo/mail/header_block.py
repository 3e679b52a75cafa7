"""The header block of a message, as octets (RFC 5322 §2.2, §3.6).

A **head** is the header block alone: its fields, each with its CRLF, without the blank line that
ends it. `head + rest` is the message; `rest` starts with the blank line, or is empty. A message
that starts with the blank line has an empty head.

Nothing here decodes, and nothing ever looks behind the head: a message of 50 MB costs what its
header block costs. Every function takes any octets and raises nothing. A line ends at LF, which in
stored messages always has its CR before it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

_BLANK_LINE = b"\r\n"
_HEAD_END = b"\r\n\r\n"

# A line behind the first that neither continues a field nor has a colon. Searched up to the last
# field's line end, so that the end of the head is not taken for one more, empty, line.
_LINE_WITHOUT_COLON = re.compile(rb"\n(?![ \t])([^:\n]*+)(?:\n|\Z)")
_SPACED_RECEIVED = re.compile(rb"^received[ \t]++:", re.MULTILINE)
_FOLD = re.compile(rb"\r?\n(?=[ \t])")
_QUOTED_LINE_LENGTH = 60


@dataclass(frozen=True, slots=True)
class HeaderProblem:
    """Why a message cannot be accepted as it stands: the text of a 554 5.6.0 reply (ASCII)."""

    text: str


def find_head_end(data: bytes | bytearray, start: int = 0) -> int | None:
    """Length of the head of a message that is still arriving; None: its end is not there yet.

    `start`: octets already searched in vain. A caller that appends passes the length of the last
    call less 3.
    """
    if data.startswith(_BLANK_LINE):
        return 0
    found = data.find(_HEAD_END, start)
    return None if found < 0 else found + len(_BLANK_LINE)


def head_length(message: bytes) -> int:
    """Length of the head of a whole message; one without a blank line is all head."""
    end = find_head_end(message)
    return len(message) if end is None else end


def split_head(message: bytes) -> tuple[bytes, bytes]:
    """Head and rest of a whole message; joined, they are the message."""
    end = head_length(message)
    return message[:end], message[end:]


def check_header(message: bytes) -> HeaderProblem | None:
    """Whether the header block can be read by others; `message` is a whole message or its start.

    The first line must not be a continuation, and every other line must continue a field or have
    a colon. Names are not looked at: `A b: c` and `: b` pass, as they do with chasquid, and so do
    a message without a body and a message without fields.
    """
    if not message:
        return HeaderProblem("the message is empty")
    end = head_length(message)
    if not end:
        return None
    if message.endswith(_BLANK_LINE, 0, end):
        end -= len(_BLANK_LINE)
    first_line = message[:end].partition(b"\n")[0]
    if first_line.startswith((b" ", b"\t")):
        return HeaderProblem(f"malformed initial line: {_quoted(first_line)}")
    if b":" not in first_line:
        return HeaderProblem(f"malformed header line: {_quoted(first_line)}")
    bad = _LINE_WITHOUT_COLON.search(message, 0, end)
    return HeaderProblem(f"malformed header line: {_quoted(bad[1])}") if bad else None


def count_received(head: bytes) -> int:
    """How many Received fields stand in the head: the hops so far (RFC 5321 §6.3)."""
    lowered = b"\n" + head.lower()
    count = lowered.count(b"\nreceived:")
    if b"\nreceived " in lowered or b"\nreceived\t" in lowered:
        count += len(_SPACED_RECEIVED.findall(lowered))
    return count


def field_values(head: bytes, name: str) -> list[bytes]:
    """Values of the fields of this name, in order, unfolded, without blanks around them."""
    if not _may_have(head, name):
        return []
    return [_FOLD.sub(b"", match[1]).strip() for match in _field(name).finditer(head)]


def has_field(head: bytes, name: str) -> bool:
    """Whether the head has a field of this name."""
    return _may_have(head, name) and _field(name).search(head) is not None


def remove_fields(head: bytes, *names: str) -> bytes:
    """The head without the fields of these names and their continuations; all else as it was."""
    for name in names:
        if _may_have(head, name):
            head = _field(name).sub(b"", head)
    return head


def replace_field(head: bytes, name: str, field: bytes) -> bytes:
    """The head with `field`, whole with its CRLF, in the place of the first field of this name.

    Further fields of the name go; where there is none, `field` stands on top.
    """
    first = _field(name).search(head) if _may_have(head, name) else None
    if first is None:
        return field + head
    return head[: first.start()] + field + remove_fields(head[first.end() :], name)


def _may_have(head: bytes, name: str) -> bool:
    """A quick no for the ordinary case that a field is absent: 5 times faster than its pattern."""
    return name.lower().encode() in head.lower()


@lru_cache(maxsize=64)
def _field(name: str) -> re.Pattern[bytes]:
    """Pattern of a whole field, folded or not; group 1 is its raw value."""
    return re.compile(
        rb"^%b[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)(?:\n|\Z)" % re.escape(name.encode()),
        re.MULTILINE | re.IGNORECASE,
    )


def _quoted(line: bytes) -> str:
    """The start of a line for a reply: printable ASCII only."""
    text = line[:_QUOTED_LINE_LENGTH].decode("ascii", "replace").strip()
    shown = "".join(c if c.isascii() and c.isprintable() else "?" for c in text)
    return f'"{shown}"'
