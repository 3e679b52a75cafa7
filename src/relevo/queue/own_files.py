"""Files of their own, written and read outside of a worker: for loading and for repair.

The format is that of `relevo.queue.records`. A worker writes them while a message arrives
(`relevo.queue.spool`); here everything is known from the beginning and nothing is asynchronous.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from zlib import crc32

from relevo.queue.disk import Disk
from relevo.queue.records import FOOTER_SIZE, Footer, Metadata, RecordDamaged, decode_metadata

MAX_METADATA = 64 * 1024 * 1024
"""Largest metadata that a reader takes into memory, octets."""

_CHUNK = 256 * 1024


def write_own_file(
    path: Path, number: int, chunks: Iterable[bytes], metadata: bytes, disk: Disk
) -> None:
    """Content and metadata under a name that is free; the file is durable, its name is not yet.

    Raises OSError, and what reading the chunks raises; the file is gone then.
    """
    descriptor = disk.create(path)
    try:
        length, total = 0, 0
        for chunk in chunks:
            length += disk.write(descriptor, [chunk], length)
            total = crc32(chunk, total)
        footer = Footer(number, length, 0, len(metadata), total, 0, crc32(metadata))
        disk.write(descriptor, [metadata, footer.pack()], length)
        disk.sync(descriptor)
    except BaseException:
        disk.unlink(path)
        raise
    finally:
        os.close(descriptor)


def read_own_file(path: Path, number: int) -> tuple[Metadata, int]:
    """Metadata and size of the content of a complete, undamaged file.

    Raises RecordDamaged, also for a file that was never finished; OSError.
    """
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - FOOTER_SIZE))
        footer = Footer.unpack(file.read())
        if footer.number != number or footer.file_length != end:
            raise RecordDamaged("the footer is of another file")
        if footer.metadata_length > MAX_METADATA:
            raise RecordDamaged("the metadata is too large")
        file.seek(0)
        for length, wanted in (
            (footer.body_length, footer.body_sum),
            (footer.head_length, footer.head_sum),
        ):
            found, left = 0, length
            while left and (chunk := file.read(min(_CHUNK, left))):
                found, left = crc32(chunk, found), left - len(chunk)
            if found != wanted:
                raise RecordDamaged("the content does not match its sum")
        metadata = decode_metadata(file.read(footer.metadata_length), footer.metadata_sum)
    return metadata, footer.body_length + footer.head_length
