"""What a hook answers: accept, perhaps with changes, refuse with a reply, or discard."""

from __future__ import annotations

import re
from enum import Enum

from relevo.value import dataclass

MAX_TEXT = 400
"""Octets of a refusal's text, so that the reply line stays within 512 (RFC 5321 §4.5.3.1.5)."""

DEFAULT_TEXTS = {
    4: "Temporary policy failure, try again later",
    5: "Message rejected by policy",
}

_ENHANCED = re.compile(r"([245])\.\d{1,3}\.\d{1,3}")
_FIELD_NAME = re.compile(rb"[!-9;-~]+")


class InvalidVerdict(ValueError):
    """An answer that the contract does not allow; the text says what is wrong with it."""


class OnError(Enum):
    """What the failure of a hook means for the message."""

    TEMPFAIL = "tempfail"
    ACCEPT = "accept"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class HeadEdit:
    """A header that takes the place of the message's. `summary`: what differs, for people."""

    octets: bytes  # whole fields, CRLF, without the blank line
    summary: str


@dataclass(frozen=True, slots=True)
class Changes:
    """What shall become of an accepted message; all of it commits with the message.

    Header fields are whole: name, colon, value, CRLF; continuation lines begin with a blank. The
    order of effects: head, remove, replace, add on top. Addresses are texts as the hook wrote them.
    """

    add: bytes = b""  # fields, put on top of everything
    remove: tuple[str, ...] = ()  # names: every such field goes
    replace: tuple[tuple[str, bytes], ...] = ()  # name, field: in the place of the first such one
    add_recipients: tuple[str, ...] = ()
    remove_recipients: tuple[str, ...] = ()
    redirect: tuple[str, ...] = ()  # in the place of all recipients, or of the one asked about
    reverse_path: str | None = None  # "" is the null reverse-path
    head: HeadEdit | None = None
    body: bytes | None = None  # CRLF line ends; what follows the header and its blank line
    route: str = ""  # of this attempt
    hold: str = ""  # why it waits in the queue until somebody releases it
    tags: tuple[str, ...] = ()

    @property
    def is_none(self) -> bool:
        return self is NO_CHANGES or self == NO_CHANGES

    def summary(self) -> str:
        """One line for people: what changes."""
        parts = [] if self.head is None else [self.head.summary]
        added = [name.decode() for name in field_names(self.add)]
        if added:
            parts.append(f"adds {', '.join(added)}")
        if self.remove:
            parts.append(f"removes {', '.join(self.remove)}")
        if self.replace:
            parts.append(f"replaces {', '.join(name for name, _ in self.replace)}")
        if self.add_recipients:
            parts.append(f"adds recipients {', '.join(self.add_recipients)}")
        if self.remove_recipients:
            parts.append(f"removes recipients {', '.join(self.remove_recipients)}")
        if self.redirect:
            parts.append(f"redirects to {', '.join(self.redirect)}")
        if self.route:
            parts.append(f"route {self.route}")
        if self.body is not None:
            parts.append(f"a body of {len(self.body)} octets")
        if self.reverse_path is not None:
            parts.append(f"reverse-path <{self.reverse_path}>")
        if self.hold:
            parts.append(f"quarantine: {self.hold}")
        if self.tags:
            parts.append(f"tags {', '.join(self.tags)}")
        return "; ".join(parts)


NO_CHANGES = Changes()


@dataclass(frozen=True, slots=True)
class Accept:
    """Go on with the message."""

    changes: Changes = NO_CHANGES


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer the client with this, and keep nothing of the message.

    Valid once built: a 4xx or 5xx code, an enhanced code of its class, and a text of one line
    that fits a reply. Raises InvalidVerdict.
    """

    code: int
    enhanced: str
    text: str

    def __post_init__(self) -> None:
        if not 400 <= self.code <= 599:
            raise InvalidVerdict(f"reply code {self.code} refuses nothing; it must be 4xx or 5xx")
        match = _ENHANCED.fullmatch(self.enhanced)
        if match is None or int(match[1]) != self.code // 100:
            raise InvalidVerdict(f"enhanced code {self.enhanced!r} does not go with {self.code}")
        if not self.text or not self.text.isprintable() or len(self.text.encode()) > MAX_TEXT:
            raise InvalidVerdict(f"the reply text is not one line of 1 to {MAX_TEXT} octets")

    @property
    def is_permanent(self) -> bool:
        return self.code >= 500


@dataclass(frozen=True, slots=True)
class Discard:
    """Accept what the client or the queue asks for, and let nothing come of it."""

    text: str = ""  # why, for the why record


Verdict = Accept | Refuse | Discard


def field_names(fields: bytes) -> list[bytes]:
    """Names of the header fields in a block of whole fields."""
    return [
        line.partition(b":")[0]
        for line in fields.split(b"\n")
        if line.strip() and line[:1] not in {b" ", b"\t"}
    ]


def clean_text(text: str, limit: int = MAX_TEXT) -> str:
    """`text` as one printable line of at most `limit` octets, cut at a character."""
    shown = "".join(c if c.isprintable() else " " for c in text.strip())
    return shown.encode("utf-8", "replace")[:limit].decode("utf-8", "ignore").strip()


def checked_fields(fields: bytes) -> bytes:
    """A block of header fields, with CRLF whichever line ends it came with; b"" stays b"".

    Every line is a field (its name RFC 5322 §2.2: printable ASCII without colon) or continues one.
    Raises InvalidVerdict.
    """
    if not fields:
        return fields
    lines = fields.replace(b"\r\n", b"\n").removesuffix(b"\n").split(b"\n")
    for number, line in enumerate(lines):
        if b"\r" in line or b"\0" in line:
            raise InvalidVerdict(f"line {number + 1} of the header has a bare CR or a NUL")
        if not line.strip():
            raise InvalidVerdict(f"line {number + 1} of the header is blank")
        if len(line) > 998:
            raise InvalidVerdict(f"line {number + 1} of the header is over 998 octets long")
        if line[:1] in {b" ", b"\t"}:
            if not number:
                raise InvalidVerdict("the header starts with a continuation line")
        elif not (b":" in line and _FIELD_NAME.fullmatch(line.partition(b":")[0])):
            raise InvalidVerdict(f"line {number + 1} of the header is no field")
    return b"\r\n".join(lines) + b"\r\n"
