"""The record that the shim writes (`shim.c`), read again."""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

_HEAD = struct.Struct("<IIIIQQQ")
_MAGIC = 0x54554352
_ACCEPTED = re.compile(rb"^250 2\.0\.0 Accepted as (\w+)\r\n", re.MULTILINE)


class Kind(IntEnum):
    """As in shim.c, which says what the fields are."""

    WRITE = 1
    ZEROS = 2
    TRUNCATE = 3
    ALLOCATE = 4
    CREATE = 5
    MAKEDIR = 6
    LINK = 7
    UNLINK = 8
    RENAME = 9
    SYNC_BEGIN = 10
    SYNC_END = 11
    SENT = 12
    ROOT = 13
    SYNC_FAILED = 14


class Record(NamedTuple):
    """One thing that happened."""

    kind: Kind
    inode: int
    offset: int
    extra: int
    data: bytes

    @property
    def accepted(self) -> list[str]:
        """Ids of messages that these octets tell a client that they are accepted."""
        return [found.decode() for found in _ACCEPTED.findall(self.data)]


class Recording:
    """All records, in order."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def __iter__(self) -> Iterator[Record]:
        data, at, end = self._data, 0, len(self._data)
        while at < end:
            magic, kind, length, _, inode, offset, extra = _HEAD.unpack_from(data, at)
            assert magic == _MAGIC, f"the record is unreadable at {at}"
            at += _HEAD.size
            yield Record(Kind(kind), inode, offset, extra, data[at : at + length])
            at += length

    def __len__(self) -> int:
        return sum(1 for _ in self)
