"""How messages are written down: JSON columns, and records that describe themselves.

A record stands in a segment, or is a file of its own. It carries everything that is needed to
rebuild its rows: id, creation time, envelope and units as JSON, then the content. Sums are CRC-32
as zlib computes it. A segment's number is in every record, because a recycled segment still holds
old, valid records beyond its tail.

Segment record:  header, metadata, content.
File of its own: body, head, metadata, footer (the body arrives first, its head is known last).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from zlib import crc32

import msgspec

from relevo.queue.store import Envelope, NewMessage, QueuedRecipient

VERSION = 1
_HEADER = struct.Struct(">4sHHQIQIII")
_SEGMENT_MAGIC = b"RVsg"
_FOOTER = struct.Struct(">4sHHQQIIIIII")
_FILE_MAGIC = b"RVfl"
HEADER_SIZE: Final = _HEADER.size
FOOTER_SIZE: Final = _FOOTER.size

encode = msgspec.json.Encoder().encode
decode_envelope = msgspec.json.Decoder(Envelope).decode
decode_recipients = msgspec.json.Decoder(tuple[QueuedRecipient, ...]).decode


@dataclass(frozen=True, slots=True)
class UnitMetadata:
    """A unit inside a record."""

    route: str
    due: float
    recipients: tuple[QueuedRecipient, ...]


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a record says of its message beside the content."""

    id: str
    created: float
    envelope: Envelope
    units: tuple[UnitMetadata, ...]


_decode_metadata = msgspec.json.Decoder(Metadata).decode


class RecordDamaged(ValueError):
    """Octets that are no valid record of this segment or file."""


@dataclass(frozen=True, slots=True)
class Header:
    """The fixed part of a segment record."""

    segment: int
    metadata_length: int
    content_length: int
    metadata_sum: int
    content_sum: int

    def pack(self) -> bytes:
        fixed = _HEADER.pack(
            _SEGMENT_MAGIC, VERSION, 0, self.segment, self.metadata_length,
            self.content_length, self.metadata_sum, self.content_sum, 0,
        )[:-4]  # fmt: skip
        return fixed + crc32(fixed).to_bytes(4, "big")

    @classmethod
    def unpack(cls, data: bytes) -> Header:
        """Raises RecordDamaged."""
        if len(data) != _HEADER.size:
            raise RecordDamaged("record header cut short")
        magic, version, _, segment, metadata, content, metadata_sum, content_sum, own = (
            _HEADER.unpack(data)
        )
        if magic != _SEGMENT_MAGIC or version != VERSION or own != crc32(data[:-4]):
            raise RecordDamaged("no record here")
        return cls(segment, metadata, content, metadata_sum, content_sum)

    @property
    def record_length(self) -> int:
        return HEADER_SIZE + self.metadata_length + self.content_length


@dataclass(frozen=True, slots=True)
class Footer:
    """The fixed part at the end of a file of its own."""

    number: int
    body_length: int
    head_length: int
    metadata_length: int
    body_sum: int
    head_sum: int
    metadata_sum: int

    def pack(self) -> bytes:
        fixed = _FOOTER.pack(
            _FILE_MAGIC, VERSION, 0, self.number, self.body_length, self.head_length,
            self.metadata_length, self.body_sum, self.head_sum, self.metadata_sum, 0,
        )[:-4]  # fmt: skip
        return fixed + crc32(fixed).to_bytes(4, "big")

    @classmethod
    def unpack(cls, data: bytes) -> Footer:
        """Raises RecordDamaged."""
        if len(data) != _FOOTER.size:
            raise RecordDamaged("file too short for its footer")
        magic, version, _, number, body, head, metadata, body_sum, head_sum, metadata_sum, own = (
            _FOOTER.unpack(data)
        )
        if magic != _FILE_MAGIC or version != VERSION or own != crc32(data[:-4]):
            raise RecordDamaged("no footer here")
        return cls(number, body, head, metadata, body_sum, head_sum, metadata_sum)

    @property
    def file_length(self) -> int:
        return self.body_length + self.head_length + self.metadata_length + FOOTER_SIZE


def metadata_of(message: NewMessage) -> bytes:
    """The metadata of a record, encoded."""
    units = tuple(UnitMetadata(unit.route, unit.due, unit.recipients) for unit in message.units)
    return encode(Metadata(message.id, message.created, message.envelope, units))


def decode_metadata(data: bytes, wanted_sum: int) -> Metadata:
    """Raises RecordDamaged."""
    if crc32(data) != wanted_sum:
        raise RecordDamaged("metadata does not match its sum")
    try:
        return _decode_metadata(data)
    except msgspec.MsgspecError as error:
        raise RecordDamaged(f"metadata unreadable: {error}") from error


def scan_segment(data: bytes | memoryview, segment: int) -> Iterator[tuple[int, Metadata, bytes]]:
    """The valid records of a segment, from its beginning: (start, metadata, content).

    Ends at the first octets that are no record of *this* segment: the zeros of a fresh one, or
    what a recycled one held before.
    """
    view = memoryview(data)
    start = 0
    while start + HEADER_SIZE <= len(view):
        try:
            header = Header.unpack(bytes(view[start : start + HEADER_SIZE]))
            if header.segment != segment or start + header.record_length > len(view):
                return
            middle = start + HEADER_SIZE + header.metadata_length
            metadata = decode_metadata(
                bytes(view[start + HEADER_SIZE : middle]), header.metadata_sum
            )
        except RecordDamaged:
            return
        content = bytes(view[middle : start + header.record_length])
        if crc32(content) != header.content_sum:
            return
        yield start, metadata, content
        start += header.record_length
