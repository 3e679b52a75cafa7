"""Messages as files that people and programs can read, out of the queue and into it.

A message is two files: `ID.eml`, the message as it is stored (CRLF lines), and `ID.json`:

    {"format": 1, "id": …, "created": …, "sha256": …,
     "envelope": {"reverse_path": …, "body": …, …},
     "units": [{"route": …, "due": …, "attempts": …, "recipients": [{"kind": …, …}]}]}

`id`, times in seconds since the epoch and the envelope are those of the queue, and so are the
units: what one attempt serves. The sum is of the `.eml`; without it (an edited message) lines are
looked at instead. The `.json` is written last: where it is, both are complete.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from relevo.queue.ids import is_id
from relevo.queue.loading import SavedMessage, SavedUnit
from relevo.queue.records import encode
from relevo.queue.store import Content, Envelope, MessageId, QueuedRecipient, Summary

FORMAT = 1
MAX_DESCRIPTION = 64 * 1024 * 1024
"""Largest `.json` that is read, octets."""

_CHUNK = 256 * 1024
_BARE = re.compile(rb"(?<!\r)\n|\r(?!\n)")


class NotAMessage(Exception):
    """Files that are no message in this form; the text says which and why."""


@dataclass(frozen=True, slots=True)
class _Unit:
    route: str
    recipients: tuple[QueuedRecipient, ...]
    due: float = 0.0
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class _Description:
    """The `.json` file."""

    format: int
    id: str
    created: float
    envelope: Envelope
    units: tuple[_Unit, ...]
    sha256: str = ""


_decode = msgspec.json.Decoder(_Description).decode


@dataclass(frozen=True, slots=True)
class FileContent:
    """A message in a file that nobody changes meanwhile."""

    path: Path
    size: int

    def chunks(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk

    def first(self, octets: int) -> bytes:
        with self.path.open("rb") as file:
            return file.read(octets)


def write_message(summary: Summary, content: Content, folder: Path, *, now: float) -> Path:
    """Write both files, durable but for their names; the path of the `.json`.

    A unit that is being tried is written as due `now`. Raises OSError, and ContentDamaged.
    """
    total = hashlib.sha256()
    with _new(folder / f"{summary.id}.eml") as file:
        for chunk in content.chunks():
            file.write(chunk)
            total.update(chunk)
        file.flush()
        os.fsync(file.fileno())
    units = tuple(
        _Unit(route, recipients, now if due is None else due, attempts)
        for route, due, attempts, recipients in summary.units
    )
    described = _Description(
        FORMAT, summary.id, summary.created, summary.envelope, units, total.hexdigest()
    )
    path = folder / f"{summary.id}.json"
    with _new(path) as file:
        file.write(msgspec.json.format(encode(described), indent=2) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return path


def find_messages(folder: Path) -> list[Path]:
    """The `.json` files of a folder, by name. Raises OSError."""
    return sorted(path for path in folder.iterdir() if path.suffix == ".json")


def read_message(path: Path) -> SavedMessage:
    """The message that a `.json` describes. Raises NotAMessage, OSError."""
    with path.open("rb") as file:
        data = file.read(MAX_DESCRIPTION + 1)
    if len(data) > MAX_DESCRIPTION:
        raise NotAMessage(f"{path}: larger than {MAX_DESCRIPTION} octets")
    try:
        described = _decode(data)
    except msgspec.MsgspecError as error:
        raise NotAMessage(f"{path}: {error}") from error
    if described.format != FORMAT:
        raise NotAMessage(f"{path}: format {described.format}, this release knows {FORMAT}")
    if not is_id(described.id):
        raise NotAMessage(f"{path}: {described.id!r} is no id of a message")
    if not described.units or not all(unit.recipients for unit in described.units):
        raise NotAMessage(f"{path}: there are no recipients")
    content = _content(path.with_suffix(".eml"), described)
    return SavedMessage(
        id=MessageId(described.id),
        created=described.created,
        size=content.size,
        envelope=described.envelope,
        units=tuple(
            SavedUnit(unit.route, unit.due, unit.attempts, unit.recipients)
            for unit in described.units
        ),
        content=content,
    )


def _content(path: Path, described: _Description) -> FileContent:
    """The message, checked. Raises NotAMessage, OSError."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            if described.sha256:
                if hashlib.file_digest(file, "sha256").hexdigest() != described.sha256.lower():
                    raise NotAMessage(
                        f"{path}: is not what {described.id}.json describes; after editing it, "
                        f'take "sha256" out there'
                    )
            elif size and described.envelope.body != "BINARYMIME":
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                    if bare := _BARE.search(data):
                        at = bare.start()
                        raise NotAMessage(f"{path}: octet {at} ends a line without CRLF")
    except FileNotFoundError as error:
        raise NotAMessage(f"{path}: is missing") from error
    return FileContent(path, size)


def _new(path: Path) -> BinaryIO:
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "wb")
