"""Whose spool files these are, and how those of a dead worker are cleaned up.

Each opened store has a generation: a number that is never used again. It is in the names of all
its spool files, and the store holds a lock on `<generation>.lock` for as long as its process
lives. Whoever can take that lock knows that nobody will write for the generation again; then a
file that no row names is garbage.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import apsw

from relevo.queue.disk import Disk

_FILE = re.compile(r"(\d+)-(\d+)\.(seg|msg)")
_LOCK = re.compile(r"(\d+)\.lock")
SEGMENT, OWN_FILE = "seg", "msg"

_NEXT_GENERATION = """
UPDATE counter SET generation = max(generation, ?) + 1 RETURNING generation
"""
_IS_LIVE = "SELECT 1 FROM message WHERE file = ? LIMIT 1"


@dataclass(frozen=True, slots=True)
class SpoolName:
    """The name of a spool file."""

    generation: int
    serial: int
    kind: str

    @classmethod
    def parse(cls, name: str) -> SpoolName | None:
        match = _FILE.fullmatch(name)
        return match and cls(int(match[1]), int(match[2]), match[3])

    @property
    def number(self) -> int:
        """What records carry, to be told from those of other files."""
        return self.generation << 32 | self.serial

    def __str__(self) -> str:
        return f"{self.generation}-{self.serial}.{self.kind}"


def is_live(connection: apsw.Connection, name: str) -> bool:
    """Whether a committed row points into a spool file."""
    return connection.execute(_IS_LIVE, (name,)).fetchone() is not None


def _lock(path: Path, *, wait: bool) -> int | None:
    """A lock on the file that has this name *now*, or None when another holds it.

    The name is looked at again after locking: a cleaner may just have removed it.
    """
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(descriptor)
            return None
        try:
            if path.stat().st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)


class Generation:
    """One life of a store: its number and the names of its files. Needs the turn to be made."""

    def __init__(self, spool: Path, connection: apsw.Connection) -> None:
        self._spool = spool
        highest = max((generation for generation in _files(spool)), default=0)
        row = connection.execute(_NEXT_GENERATION, (highest,)).fetchone()
        assert row is not None
        self.number = int(row[0])
        self._serials = itertools.count(1)  # next() is atomic: several threads make names
        self._lock_path = spool / f"{self.number}.lock"
        descriptor = _lock(self._lock_path, wait=True)
        assert descriptor is not None
        self._descriptor = descriptor

    def new_name(self, kind: str) -> SpoolName:
        """A name that was never used."""
        return SpoolName(self.number, next(self._serials), kind)

    def close(self) -> None:
        """Nothing more will be written; what is left may be cleaned up by anybody."""
        os.close(self._descriptor)


def _files(spool: Path) -> dict[int, list[SpoolName]]:
    """Spool files by generation, those with nothing but a lock file too."""
    found: dict[int, list[SpoolName]] = defaultdict(list)
    for path in spool.iterdir():
        name = SpoolName.parse(path.name)
        if name is not None:
            found[name.generation].append(name)
        elif match := _LOCK.fullmatch(path.name):
            found[int(match[1])]
    return found


def sweep(spool: Path, connection: apsw.Connection, disk: Disk) -> int:
    """Remove what dead generations left and no row names; returns how many files went.

    Any number of processes may sweep at once. Raises OSError, apsw.Error.
    """
    removed = 0
    for number, names in _files(spool).items():
        lock_path = spool / f"{number}.lock"
        descriptor = _lock(lock_path, wait=False)
        if descriptor is None:
            continue
        try:
            left = 0
            for name in names:
                if is_live(connection, str(name)):
                    left += 1
                else:
                    disk.unlink(spool / str(name))
                    removed += 1
            if not left:
                disk.unlink(lock_path)
        finally:
            os.close(descriptor)
    return removed
