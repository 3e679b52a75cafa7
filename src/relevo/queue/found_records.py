"""Every readable record of a spool directory, without asking the database.

What is found may be alive, ended, or never have been answered with 250: records do not say so. A
damaged place in a segment is jumped over: the search goes on at the next header of the segment.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from relevo.queue.generations import SEGMENT, SpoolName
from relevo.queue.own_files import read_own_file
from relevo.queue.records import HEADER_SIZE, Header, Metadata, RecordDamaged, scan_segment

_MAGIC = b"RVsg"
_PIECE = 1024 * 1024  # octets searched at once


@dataclass(frozen=True, slots=True)
class FoundRecord:
    """A record that is whole: where it stands and what it says."""

    file: str
    start: int | None  # None: a file of its own
    size: int  # octets of the content
    metadata: Metadata


def find_records(spool: Path) -> Iterator[FoundRecord]:
    """All of them, oldest file first. Raises OSError."""
    names = (SpoolName.parse(path.name) for path in spool.iterdir())
    for name in sorted((name for name in names if name), key=lambda name: name.number):
        if name.kind == SEGMENT:
            yield from _in_segment(spool, name)
            continue
        try:
            metadata, size = read_own_file(spool / str(name), name.number)
        except RecordDamaged:  # or still arriving when the server ended
            continue
        yield FoundRecord(str(name), None, size, metadata)


def _in_segment(spool: Path, name: SpoolName) -> Iterator[FoundRecord]:
    with (spool / str(name)).open("rb") as file:
        if not file.seek(0, 2):
            return
        view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    at: int | None = 0
    while at is not None:
        end = at
        for start, metadata, content in scan_segment(view[at:], name.number):
            yield FoundRecord(str(name), at + start, len(content), metadata)
            header = Header.unpack(bytes(view[at + start : at + start + HEADER_SIZE]))
            end = at + start + header.record_length
        at = _next_header(view, end, name.number)


def _next_header(view: memoryview, start: int, number: int) -> int | None:
    """Where the next header of this segment stands, behind `start`; None: nowhere."""
    at = _find_magic(view, start + 1)
    while at >= 0:
        try:
            if Header.unpack(bytes(view[at : at + HEADER_SIZE])).segment == number:
                return at
        except RecordDamaged:
            pass
        at = _find_magic(view, at + 1)
    return None


def _find_magic(view: memoryview, at: int) -> int:
    """Where it stands next, from `at` on; -1: nowhere.

    In copies of pieces: `mmap.find` of Python 3.11 may look at an octet behind the end, and a
    segment whose last page is full has nothing there: the process would crash.
    """
    while at < len(view):
        found = bytes(view[at : at + _PIECE + len(_MAGIC) - 1]).find(_MAGIC)
        if found >= 0:
            return at + found
        at += _PIECE
    return -1
