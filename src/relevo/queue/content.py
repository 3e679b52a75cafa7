"""Content that stands in the spool, read back and verified.

Chunks are handed out as they are read; the last one only after the sum was found right. So a
consumer that ends properly has had the true message, and one that was cut short by
`ContentDamaged` has had no end: no final dot, no rename into a mailbox.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from zlib import crc32

from relevo.queue.records import FOOTER_SIZE, HEADER_SIZE, Footer, Header, RecordDamaged
from relevo.queue.store import StoreFailed

CHUNK = 256 * 1024

Part = tuple[int, int, int]  # where it begins in the file, its length, its sum


class ContentUnreadable(StoreFailed):
    """The stored octets cannot be read: the system says why, and it may pass."""


class ContentDamaged(ContentUnreadable):
    """The stored octets are gone or are not those that were written."""


def open_content(path: Path) -> int:
    """A descriptor to read from. Raises ContentUnreadable."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise ContentDamaged(f"{path}: {error.strerror}") from error
    except OSError as error:
        raise ContentUnreadable(f"{path}: {error.strerror}") from error


def _read(descriptor: int, length: int, offset: int, path: Path) -> bytes:
    try:
        return os.pread(descriptor, length, offset)
    except OSError as error:
        raise ContentUnreadable(f"{path}: {error.strerror}") from error


def read_parts(path: Path, descriptor: int, parts: tuple[Part, ...]) -> Iterator[bytes]:
    """The octets of the parts, one after another; each part's last chunk comes verified."""
    for begin, length, wanted in parts:
        seen, found = 0, 0
        while seen < length:
            chunk = _read(descriptor, min(CHUNK, length - seen), begin + seen, path)
            found = crc32(chunk, found)
            seen += len(chunk)
            if not chunk or (seen == length and found != wanted):
                raise ContentDamaged(f"{path}: content at {begin} does not match its sum")
            yield chunk


class StoredContent:
    """Content in a segment, or in a file of its own."""

    __slots__ = ("_locate", "path", "size")

    def __init__(self, path: Path, size: int, locate: Callable[[int], tuple[Part, ...]]) -> None:
        self.path = path
        self.size = size
        self._locate = locate

    def chunks(self) -> Iterator[bytes]:
        """Raises ContentUnreadable; ContentDamaged at the latest before the last chunk."""
        descriptor = open_content(self.path)
        try:
            yield from read_parts(self.path, descriptor, self._parts(descriptor))
        finally:
            os.close(descriptor)

    def first(self, octets: int) -> bytes:
        """The first octets, from a record whose frame was verified. Raises ContentUnreadable."""
        descriptor = open_content(self.path)
        try:
            found, wanted = [], octets
            for begin, length, _ in self._parts(descriptor):
                piece = _read(descriptor, min(wanted, length), begin, self.path)
                if len(piece) < min(wanted, length):
                    raise ContentDamaged(f"{self.path}: content at {begin} is cut short")
                found.append(piece)
                wanted -= len(piece)
            return b"".join(found)
        finally:
            os.close(descriptor)

    def _parts(self, descriptor: int) -> tuple[Part, ...]:
        try:
            parts = self._locate(descriptor)
        except RecordDamaged as error:
            raise ContentDamaged(f"{self.path}: {error}") from error
        except OSError as error:
            raise ContentUnreadable(f"{self.path}: {error.strerror}") from error
        if sum(length for _, length, _ in parts) != self.size:
            raise ContentDamaged(f"{self.path}: the record is not of {self.size} octets")
        return parts


def segment_content(path: Path, segment: int, start: int, size: int) -> StoredContent:
    """Content of the record at `start` of a segment."""

    def locate(descriptor: int) -> tuple[Part, ...]:
        header = Header.unpack(os.pread(descriptor, HEADER_SIZE, start))
        if header.segment != segment:
            raise RecordDamaged(f"record at {start} is of an earlier use of the segment")
        begin = start + HEADER_SIZE + header.metadata_length
        return ((begin, header.content_length, header.content_sum),)

    return StoredContent(path, size, locate)


def file_content(path: Path, number: int, size: int) -> StoredContent:
    """Content of a file of its own."""

    def locate(descriptor: int) -> tuple[Part, ...]:
        end = os.fstat(descriptor).st_size
        footer = Footer.unpack(os.pread(descriptor, FOOTER_SIZE, max(0, end - FOOTER_SIZE)))
        if footer.number != number or footer.file_length != end:
            raise RecordDamaged("footer does not belong to this file")
        return (
            (footer.body_length, footer.head_length, footer.head_sum),
            (0, footer.body_length, footer.body_sum),
        )

    return StoredContent(path, size, locate)
