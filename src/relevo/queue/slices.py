"""Records that are worth keeping for a while, and no sync: files that grow, and go as a whole.

Each process writes files of its own, named by its number and the time of their first record, so
that no lock is needed; readers see all of them. A file is a slice of time: it goes, as a whole,
when its last record is older than what is kept, or when it is the oldest of a process that has no
room left. A record has a frame with its length and sum; what a crash cut short ends its file.

Nothing here is synced: what is lost in a crash of the machine costs nobody mail. Files have mode
0600 in a folder with 0700.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MAX_RECORD = 1024 * 1024 * 1024
_MAGIC = b"rsl1"
_FRAME = struct.Struct("<4sIId")  # magic, length, sum, time
_SLICES = 12  # into which age, size and number are divided
_SUFFIX = ".slice"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one process may keep."""

    keep_s: float
    octets: int
    records: int

    @classmethod
    def share(cls, keep_s: float, octets: int, records: int, processes: int) -> Bounds:
        """That of one of so many processes."""
        return cls(keep_s, max(1, octets // processes), max(1, records // processes))


@dataclass(slots=True)
class _Slice:
    path: Path
    octets: int
    records: int
    first: float  # times of its records, seconds since the epoch
    last: float


class SliceWriter:
    """The files of one process. Blocking; for one thread at a time."""

    def __init__(self, folder: Path, number: int, bounds: Bounds) -> None:
        """What an earlier process of that number has left is taken over. Raises OSError."""
        self._folder = folder
        self._number = number
        self._bounds = bounds
        folder.mkdir(mode=0o700, exist_ok=True)
        found = (_look(path) for path in _paths(folder) if _number_of(path) == number)
        self._slices = deque(slice_ for slice_ in found if slice_ is not None)
        self._descriptor = -1

    def append(self, records: Sequence[tuple[float, bytes]]) -> None:
        """Add records with their times, in one write. Raises OSError."""
        if not records:
            return
        current = self._current(records[0][0])
        frames = b"".join([_framed(when, record) for when, record in records])
        view = memoryview(frames)
        while view:
            view = view[os.write(self._descriptor, view) :]
        current.octets += len(frames)
        current.records += len(records)
        current.last = records[-1][0]

    def prune(self, now: float) -> None:
        """Remove what is too old or too much. Raises OSError."""
        bounds = self._bounds
        room = 1 - 1 / _SLICES  # the slice to come has its place
        while self._slices and (
            self._slices[0].last < now - bounds.keep_s
            or sum(each.octets for each in self._slices) > bounds.octets * room
            or sum(each.records for each in self._slices) > bounds.records * room
        ):
            if len(self._slices) == 1:
                self._end_slice()
            self._slices.popleft().path.unlink(missing_ok=True)

    def close(self) -> None:
        """The files stay."""
        self._end_slice()

    def _current(self, now: float) -> _Slice:
        """The slice to write to; its file is open."""
        bounds = self._bounds
        current = self._slices[-1] if self._slices and self._descriptor >= 0 else None
        if current is not None and (
            now - current.first < bounds.keep_s / _SLICES
            and current.octets < bounds.octets // _SLICES
            and current.records < bounds.records / _SLICES
        ):
            return current
        self._end_slice()
        self.prune(now)
        path = self._new_path(now)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)
        self._slices.append(_Slice(path, 0, 0, now, now))
        return self._slices[-1]

    def _new_path(self, now: float) -> Path:
        moment = int(now * 1000)
        if self._slices:
            moment = max(moment, _moment_of(self._slices[-1].path) + 1)
        return self._folder / f"{self._number:04d}-{moment:015d}{_SUFFIX}"

    def _end_slice(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def read_slices(folder: Path, since: float) -> Iterator[tuple[float, bytes]]:
    """Records of all processes from `since` on, those of each process in their order.

    A file that goes meanwhile is left out. Raises OSError.
    """
    for path in _paths(folder):
        with contextlib.suppress(FileNotFoundError):
            yield from _read(path, since)


def remove_slices(folder: Path, *, older_than: float | None = None) -> None:
    """Remove the files, of whichever process: all, or those without a later record."""
    for path in _paths(folder):
        with contextlib.suppress(FileNotFoundError):
            if older_than is None or path.stat().st_mtime < older_than:
                path.unlink()


def copy_slices(folder: Path, target: Path) -> None:
    """Copy the files of all processes into a new folder, also while they grow. Raises OSError."""
    target.mkdir(mode=0o700)
    for path in _paths(folder):
        with contextlib.suppress(FileNotFoundError), path.open("rb") as source:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with os.fdopen(os.open(target / path.name, flags, 0o600), "wb") as copy:
                shutil.copyfileobj(source, copy)


def _framed(when: float, record: bytes) -> bytes:
    return _FRAME.pack(_MAGIC, len(record), crc32(record), when) + record


def _frames(path: Path) -> Iterator[tuple[float, int, int, int]]:
    """Time, sum, begin and length of each record of a file, as far as it is whole."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        at = 0
        while at + _FRAME.size <= size:
            file.seek(at)
            magic, length, total, when = _FRAME.unpack(file.read(_FRAME.size))
            begin = at + _FRAME.size
            at = begin + length
            if magic != _MAGIC or at > size:
                return
            yield when, total, begin, length


def _read(path: Path, since: float) -> Iterator[tuple[float, bytes]]:
    with path.open("rb") as file:
        for when, total, begin, length in _frames(path):
            if when < since:
                continue
            file.seek(begin)
            record = file.read(length)
            if crc32(record) != total:
                return
            yield when, record


def _look(path: Path) -> _Slice | None:
    """A file that is there already."""
    try:
        times = [when for when, _, _, _ in _frames(path)]
        size = path.stat().st_size
    except FileNotFoundError:
        return None
    first = _moment_of(path) / 1000
    return _Slice(path, size, len(times), first, times[-1] if times else first)


def _paths(folder: Path) -> Iterable[Path]:
    """By process, then by time."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names are what is looked at
    except FileNotFoundError:
        return []
    return [folder / name for name in sorted(names) if _is_slice(name)]


def _is_slice(name: str) -> bool:
    number, dash, moment = name.removesuffix(_SUFFIX).partition("-")
    return name.endswith(_SUFFIX) and bool(dash) and number.isdigit() and moment.isdigit()


def _number_of(path: Path) -> int:
    return int(path.name.partition("-")[0])


def _moment_of(path: Path) -> int:
    """Milliseconds since the epoch."""
    return int(path.name.removesuffix(_SUFFIX).partition("-")[2])
