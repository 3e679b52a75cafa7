"""The messages of the load: what each of them contains follows from its name alone.

A name such as `k3.0000123.10240.both` tells run, serial number, octets of the body and kind. Name
and content are one to one, every line of the body begins with the name, and so a delivered file
shows by itself whose it is and whether it is whole: nothing needs to be remembered but names.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

DOMAIN = "d1.test"
USERS = tuple(f"u{number}" for number in range(8))
BOTH_ALIAS = "both"  # a user here and an address elsewhere
PIPE_ALIAS = "pipe"
REMOTE_ADDRESS = "someone@remote.test"
REMOTE_ROUTE = "mx:remote.test"

_LINE = 76
_NAME_LENGTH = 31  # to which names are padded in the body
MAX_TRACE = 4096  # octets that a server puts on top, at most


class Kind(Enum):
    """To whom a message goes."""

    LOCAL = "local"  # one user
    BOTH = "both"  # through an alias: one user, and an address elsewhere that waits in the queue
    PIPE = "pipe"  # through an alias: a command


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the load."""

    run: str
    serial: int
    size: int  # octets of the body
    kind: Kind

    @property
    def name(self) -> str:
        return f"{self.run}.{self.serial:07d}.{self.size}.{self.kind.value}"

    @classmethod
    def parse(cls, name: str) -> Message:
        """Raises ValueError."""
        run, serial, size, kind = name.split(".")
        return cls(run, int(serial), int(size), Kind(kind))

    @property
    def recipient(self) -> str:
        match self.kind:
            case Kind.LOCAL:
                return f"{USERS[self.serial % len(USERS)]}@{DOMAIN}"
            case Kind.BOTH:
                return f"{BOTH_ALIAS}@{DOMAIN}"
            case Kind.PIPE:
                return f"{PIPE_ALIAS}@{DOMAIN}"

    def content(self) -> bytes:
        """The message as the client sends it, CRLF lines, nothing that needs stuffing."""
        name = self.name.encode()
        assert len(name) <= _NAME_LENGTH, name
        head = (
            b"From: <load@client.test>\r\nTo: <%b>\r\nSubject: %b\r\n"
            b"Message-ID: <%b@client.test>\r\nDate: Tue, 24 Nov 2026 07:00:00 +0000\r\n\r\n"
            % (self.recipient.encode(), name, name)
        )
        return head + name.ljust(_NAME_LENGTH, b"-").join(_body(self.size))


@lru_cache(maxsize=64)
def _body(size: int) -> tuple[bytes, ...]:
    """What stands between the names in a body whose every line begins with the name."""
    rest = _LINE - _NAME_LENGTH - 2
    count = max(1, size // _LINE)
    lines = [(b" line %d " % number).ljust(rest, b"x") + b"\r\n" for number in range(count)]
    missing = size - count * _LINE
    if missing < 0:
        raise ValueError(f"a body has at least {_LINE} octets, not {size}")
    if missing:
        lines[-1] = b" end ".ljust(rest + missing, b"x") + b"\r\n"
    return (b"", *lines)


def is_whole(message: Message, delivered: bytes) -> bool:
    """Whether a delivered file is the message with trace fields on top, LF lines."""
    expected = message.content().replace(b"\r\n", b"\n")
    trace = len(delivered) - len(expected)
    return 0 < trace <= MAX_TRACE and delivered.endswith(expected)


def name_in(delivered: bytes) -> str | None:
    """The name in the Subject field of a delivered file."""
    _, found, rest = delivered[: MAX_TRACE * 2].partition(b"\nSubject: ")
    return rest.partition(b"\n")[0].decode(errors="replace") if found else None


@dataclass(frozen=True, slots=True)
class Mix:
    """What the load is made of: weights by size, and every how many a message is of a kind."""

    sizes: tuple[tuple[int, int], ...]  # (octets, weight)
    both_every: int
    pipe_every: int  # 0: never

    def messages(self, run: str) -> Iterator[Message]:
        """Without end; the same for the same run."""
        chooser = random.Random(run)
        octets, weights = zip(*self.sizes, strict=True)
        serial = 0
        while True:
            for size in chooser.choices(octets, weights, k=1000):
                if self.pipe_every and serial % self.pipe_every == 1:
                    kind = Kind.PIPE
                elif serial % self.both_every == 0:
                    kind = Kind.BOTH
                else:
                    kind = Kind.LOCAL
                yield Message(run, serial, size, kind)
                serial += 1


MIXES = {
    # inside the database, in a segment, in a segment, in a file of its own (with small segments)
    "kills": Mix(((300, 860), (10_240, 100), (102_400, 30), (409_600, 10)), 8, 40),
    "outbound": Mix(((300, 900), (10_240, 80), (102_400, 20)), 1, 0),
    "cuts": Mix(((300, 600), (10_240, 300), (102_400, 70), (409_600, 30)), 10, 0),
    "faults": Mix(((300, 400), (10_240, 400), (102_400, 150), (409_600, 50)), 20, 40),
}
