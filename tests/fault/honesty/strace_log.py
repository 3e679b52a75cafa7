"""What strace wrote, as calls with the lines on which each began and ended.

strace runs with `-f -y`: each line starts with a thread's id, and descriptors are shown with what
they lead to. The place of a line in the log is the time: a call that is shown in one piece begins
and ends there; one that others interrupted begins at its `<unfinished ...>` line and ends at its
`resumed` line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_LINE = re.compile(rb"^(\d+) +(.*)$", re.DOTALL)
_CALL = re.compile(rb"^(\w+)\((?:(\d+|AT_FDCWD)<(.*?)>)?")
_RESUMED = re.compile(rb"^<\.\.\. (\w+) resumed>")
_RESULT = re.compile(rb"\) += (-?\d+)[^)]*$")
_UNFINISHED = b" <unfinished ...>"

TRACED = (
    "write,writev,pwrite64,pwritev,pwritev2,send,sendto,sendmsg,"
    "fsync,fdatasync,openat,rename,renameat,renameat2"
)


@dataclass(frozen=True, slots=True)
class Call:
    """A system call. `path`: what its first descriptor leads to."""

    name: str
    path: str
    text: bytes  # all that strace shows of it
    result: int
    begun: int  # line numbers
    ended: int

    @property
    def is_write(self) -> bool:
        return self.name in {"write", "writev", "pwrite64", "pwritev", "pwritev2"}

    @property
    def is_good_sync(self) -> bool:
        return self.name in {"fsync", "fdatasync"} and self.result == 0

    @property
    def is_to_socket(self) -> bool:
        return self.path.startswith(("socket:", "TCP"))


def read_calls(path: Path) -> Iterator[Call]:
    """All calls that returned, in the order in which they ended."""
    begun: dict[bytes, tuple[int, bytes]] = {}  # by thread
    with path.open("rb") as file:
        for number, line in enumerate(file):
            match = _LINE.match(line.rstrip(b"\n"))
            if match is None:
                continue
            thread, text = match.groups()
            start = number
            if resumed := _RESUMED.match(text):
                start, first = begun.pop(thread)
                text = first + text[resumed.end() :]
            elif text.endswith(_UNFINISHED):
                begun[thread] = number, text[: -len(_UNFINISHED)]
                continue
            call, result = _CALL.match(text), _RESULT.search(text)
            if call is None or result is None:
                continue  # signals, exits
            name, _, target = call.groups()
            shown = (target or b"").decode(errors="replace")
            yield Call(name.decode(), shown, text, int(result[1]), start, number)
