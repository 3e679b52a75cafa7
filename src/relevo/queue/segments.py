"""Spool segments: where the content of middling messages is appended.

A segment is a file of fixed size, filled with zeros ahead of use, so that an append changes no
metadata and one `fdatasync` makes a whole group durable. Only the writer thread appends. A full
segment is sealed; when no row points into it any more it is renamed for its next use (or removed,
when enough are in stock). After a failed write or sync a segment is never touched again: a second
sync may claim success for octets that are lost.

The first segments are small and each is twice as large as the one before it, so that the first
message after a start does not wait until a large file is full of zeros.

Messages that wait long in a mostly dead segment are moved out of it by `relevo.queue.compaction`.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from relevo.queue.disk import Disk
from relevo.queue.generations import SEGMENT, Generation, SpoolName
from relevo.queue.records import HEADER_SIZE, Header

_FIRST = 4 * 1024 * 1024  # octets of the first segment
_STOCK = 2  # dead segments kept for another use
_LOOKS = 64  # sealed segments looked at in one collection


@dataclass(slots=True)
class _Segment:
    """An open segment and how far it is written."""

    name: SpoolName
    descriptor: int
    size: int
    tail: int = 0


class SegmentWriter:
    """The segments of one worker. Used by its writer thread alone."""

    def __init__(
        self, spool: Path, generation: Generation, disk: Disk, executor: Executor, size: int
    ) -> None:
        self._spool = spool
        self._generation = generation
        self._disk = disk
        self._executor = executor
        self._size = size
        self._next_size = min(size, _FIRST)
        self._current: _Segment | None = None
        self._next: Future[_Segment] | None = None
        self._sealed: deque[tuple[SpoolName, int]] = deque()  # with their sizes
        self._stock: list[SpoolName] = []  # of full size
        self._staged: list[bytes | memoryview] = []
        self._staged_octets = 0
        self.has_rolled = False  # a good moment to collect

    def has_room_for(self, metadata: bytes, content_length: int) -> bool:
        """Whether a record of this size fits into any empty segment."""
        return HEADER_SIZE + len(metadata) + content_length <= min(self._size, _FIRST)

    def takes_now(self, metadata: bytes, content: bytes) -> bool:
        """Whether a record can be placed without waiting for the next segment."""
        segment = self._current
        length = HEADER_SIZE + len(metadata) + len(content)
        return segment is not None and self._has_left(segment, length)

    def append(self, metadata: bytes, content: bytes) -> tuple[str, int]:
        """Place a record; (file name, start). Written and durable after `sync`. Raises OSError."""
        length = HEADER_SIZE + len(metadata) + len(content)
        segment = self._current
        if segment is None or not self._has_left(segment, length):
            self.sync()
            segment = self._roll()
        start = segment.tail + self._staged_octets
        header = Header(
            segment.name.number, len(metadata), len(content), crc32(metadata), crc32(content)
        )
        self._staged += (header.pack(), metadata, content)
        self._staged_octets += length
        return str(segment.name), start

    def _has_left(self, segment: _Segment, length: int) -> bool:
        return segment.tail + self._staged_octets + length <= segment.size

    def sync(self) -> None:
        """Write what was placed and make it durable. Raises OSError: then call `abandon`."""
        segment = self._current
        if segment is None or not self._staged:
            return
        self._disk.write(segment.descriptor, self._staged, segment.tail)
        segment.tail += self._staged_octets
        self._staged, self._staged_octets = [], 0
        self._disk.sync_data(segment.descriptor)
        if segment.tail > segment.size // 2:
            self._prepare()

    def abandon(self) -> None:
        """Seal the current segment, whatever state it is in, and forget what was placed."""
        self._staged, self._staged_octets = [], 0
        self._seal()

    def collect(self, is_live: Callable[[str], bool]) -> int:
        """Put dead sealed segments into stock or remove them; returns how many were dead.

        Only between batches: a record that is placed but not committed has no row yet. Looks at a
        bounded number; those that live come last the next time.
        """
        self.has_rolled = False
        dead = 0
        for _ in range(min(len(self._sealed), _LOOKS)):
            name, size = self._sealed.popleft()
            if is_live(str(name)):
                self._sealed.append((name, size))
                continue
            dead += 1
            if size == self._size and len(self._stock) < _STOCK:
                self._stock.append(name)
            else:
                self._disk.unlink(self._spool / str(name))
        return dead

    def close(self) -> None:
        """Give up the descriptors; files stay for those who clean up."""
        self._seal()
        if self._next is not None:
            with contextlib.suppress(OSError):
                os.close(self._next.result().descriptor)
            self._next = None

    def _seal(self) -> None:
        if self._current is not None:
            with contextlib.suppress(OSError):  # an error of earlier writes; they were synced
                os.close(self._current.descriptor)
            self._sealed.append((self._current.name, self._current.size))
            self._current = None
            self.has_rolled = True

    def _roll(self) -> _Segment:
        """Go on to the next segment, waiting until it is filled."""
        self._prepare()
        assert self._next is not None
        upcoming, self._next = self._next, None
        segment = upcoming.result()
        self._seal()
        self._current = segment
        return segment

    def _prepare(self) -> None:
        if self._next is None:
            old = self._stock.pop() if self._stock else None
            size = self._size if old is not None else self._next_size
            self._next_size = min(self._size, 2 * size)
            new = self._generation.new_name(SEGMENT)
            self._next = self._executor.submit(self._make, new, old, size)

    def _make(self, new: SpoolName, old: SpoolName | None, size: int) -> _Segment:
        """A segment under its new name: a dead one again, or a fresh one filled with zeros."""
        path = self._spool / str(new)
        if old is not None:
            self._disk.rename(self._spool / str(old), path)
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        else:
            descriptor = self._disk.create(path)
        try:
            if old is None:
                self._disk.fill(descriptor, size)
                self._disk.sync(descriptor)
            self._disk.sync_directory(self._spool)
        except OSError:
            os.close(descriptor)
            self._disk.unlink(path)
            raise
        return _Segment(new, descriptor, size)
