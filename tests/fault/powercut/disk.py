"""What a disk may hold after a power cut: the model that a recording is played into.

What is certain is only what a successful sync covered:

- of a file: its content and size, by a sync of the file;
- of a directory: which names it has and what they lead to, by a sync of the directory. A sync of a
  file says nothing about its name, and a sync of one directory nothing about another.

A sync covers what was recorded before it began, from the moment when it had ended. Everything
since may be there or not, as `Mode` says. What a sync failed to write is lost: a later sync of the
same file, which may succeed, does not bring it back, only writing it again does. A file whose name
survived and whose content did not is empty, or full of zeros. Memory maps (SQLite's -shm) are not
recorded: such content is lost always.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise
from pathlib import Path

from fault.powercut.recording import Kind, Record

SECTOR = 512


class Mode(Enum):
    """What becomes of changes that no sync covers."""

    DROP = "drop all"
    SUBSET = "keep a random subset"  # of writes and of operations on names, each as a whole
    TEAR = "tear at 512 octets"  # each sector of a write, each name of an operation by itself
    KEEP = "keep all"  # no power cut at all: what the recording says, to compare with the disk


@dataclass(frozen=True, slots=True)
class Change:
    """Of a file's content. `size`: octets of zeros; the new size of TRUNCATE and ALLOCATE."""

    position: int
    kind: Kind
    offset: int
    size: int
    data: bytes


@dataclass(slots=True, eq=False)
class File:
    """A file: what is certain of it, and what happened since."""

    content: bytearray = field(default_factory=bytearray)
    changes: list[Change] = field(default_factory=list)

    def sync(self, begun: int) -> None:
        """What was recorded before position `begun` is certain now."""
        covered = [change for change in self.changes if change.position < begun]
        self.changes = self.changes[len(covered) :]
        for change in covered:
            apply(change, self.content)

    def sync_failed(self) -> None:
        """The kernel has dropped what it could not write, and will not try again."""
        self.changes = []

    def after_cut(self, mode: Mode, chooser: random.Random) -> bytearray:
        if not self.changes or mode is Mode.DROP:
            return self.content
        content = bytearray(self.content)
        for change in self.changes:
            if mode is Mode.TEAR and change.kind is Kind.WRITE:
                tear(change, content, chooser)
            elif mode is Mode.KEEP or chooser.random() < 0.5:
                apply(change, content)
        return content


def apply(change: Change, content: bytearray) -> None:
    """Do to the content what the change did."""
    match change.kind:
        case Kind.WRITE:
            _put(content, change.offset, change.data)
        case Kind.ZEROS:
            _put(content, change.offset, bytes(change.size))
        case Kind.TRUNCATE:
            del content[change.size :]
            _grow(content, change.size)
        case _:
            _grow(content, change.size)


def tear(change: Change, content: bytearray, chooser: random.Random) -> None:
    """Some sectors of a write; now and then all in front of a point, as when power fails in it."""
    data, offset = change.data, change.offset
    cuts = [0, *range(SECTOR - offset % SECTOR, len(data), SECTOR), len(data)]
    stop = chooser.randrange(len(cuts)) if chooser.random() < 0.5 else len(cuts)
    for number, (begin, end) in enumerate(pairwise(cuts)):
        is_kept = number < stop if stop < len(cuts) else chooser.random() < 0.5
        if is_kept:
            _put(content, offset + begin, data[begin:end])


def _grow(content: bytearray, size: int) -> None:
    if len(content) < size:
        content.extend(bytes(size - len(content)))


def _put(content: bytearray, offset: int, data: bytes) -> None:
    _grow(content, offset)
    content[offset : offset + len(data)] = data


@dataclass(frozen=True, slots=True, eq=False)
class Naming:
    """A name's new target (None: the name is gone), as part of an operation."""

    position: int  # of the operation, which may be two namings
    name: str
    target: File | Directory | None


@dataclass(slots=True, eq=False)
class Directory:
    """A directory: names that are certain, and what happened since."""

    names: dict[str, File | Directory] = field(default_factory=dict)
    changes: list[Naming] = field(default_factory=list)

    def sync(self, begun: int) -> None:
        covered = [change for change in self.changes if change.position < begun]
        self.changes = self.changes[len(covered) :]
        _name(self.names, covered)

    def now(self, name: str) -> File | Directory | None:
        """Where the name leads while the power is on."""
        for change in reversed(self.changes):
            if change.name == name:
                return change.target
        return self.names.get(name)

    def after_cut(self, is_kept: Callable[[Naming], bool]) -> dict[str, File | Directory]:
        names = dict(self.names)
        _name(names, [change for change in self.changes if is_kept(change)])
        return names


def _name(names: dict[str, File | Directory], changes: list[Naming]) -> None:
    for change in changes:
        if change.target is None:
            names.pop(change.name, None)
        else:
            names[change.name] = change.target


SyncCounts = Callable[[str, bool], bool]


def every_sync_counts(_path: str, _is_directory: bool) -> bool:
    return True


class Disk:
    """All files below the roots, as far as the recording has been played.

    `counts` tells of a path, and whether it is a directory, if its syncs count (they do, unless a
    test wants to know what becomes of the mail without them). A file's path is its first one.
    """

    def __init__(self, counts: SyncCounts = every_sync_counts) -> None:
        self.position = 0
        self.accepted: list[str] = []  # message ids whose 250 was sent
        self._counts = counts
        self._roots: dict[str, Directory] = {}
        self._things: dict[int, File | Directory] = {}  # by inode number, as it is used now
        self._paths: dict[int, str] = {}
        self._nameless: set[int] = set()  # directories whose maker has not told of them yet
        self._syncs: dict[tuple[int, int], int] = {}  # (inode, thread) → where it began

    def play(self, record: Record) -> None:
        """One record more."""
        kind, inode = record.kind, record.inode
        match kind:
            case Kind.WRITE | Kind.ZEROS | Kind.TRUNCATE | Kind.ALLOCATE:
                size = record.extra if kind is Kind.ZEROS else record.offset
                change = Change(self.position, kind, record.offset, size, record.data)
                file = self._things.get(inode)
                assert isinstance(file, File), f"{kind.name} of an unknown file {inode}"
                file.changes.append(change)
            case Kind.SYNC_BEGIN:
                self._syncs[inode, record.offset] = self.position
            case Kind.SYNC_END:
                begun = self._syncs.pop((inode, record.offset))
                thing = self._things[inode]
                if self._counts(self._paths[inode], isinstance(thing, Directory)):
                    thing.sync(begun)
            case Kind.SYNC_FAILED:
                thing = self._things[inode]
                assert isinstance(thing, File), "of directories this is not modelled"
                thing.sync_failed()
            case Kind.SENT:
                self.accepted += record.accepted
            case Kind.ROOT:
                path = os.fsdecode(record.data)
                if path not in self._roots:
                    self._roots[path] = Directory()
                    self._things[inode], self._paths[inode] = self._roots[path], path
            case Kind.CREATE | Kind.MAKEDIR | Kind.LINK | Kind.UNLINK | Kind.RENAME:
                self._play_names(record)
        self.position += 1

    def _play_names(self, record: Record) -> None:
        folder = self._directory(record.extra)
        name = os.fsdecode(record.data)
        match record.kind:
            case Kind.CREATE | Kind.MAKEDIR:
                known = self._things.get(record.inode)
                if known is not None and folder.now(name) is known:
                    return  # two processes made it at once
                if known is not None and record.inode in self._nameless:
                    made = known
                else:
                    made = File() if record.kind is Kind.CREATE else Directory()
                self._nameless.discard(record.inode)
                self._things[record.inode] = made
                self._paths[record.inode] = f"{self._paths[record.extra]}/{name}"
                self._rename(folder, name, made)
            case Kind.LINK:
                self._rename(folder, name, self._things[record.inode])
            case Kind.UNLINK:
                self._rename(folder, name, None)
            case _:
                old, new = name.split("\0")
                self._rename(self._directory(record.offset), new, self._things[record.inode])
                self._rename(folder, old, None)

    def _rename(self, folder: Directory, name: str, target: File | Directory | None) -> None:
        folder.changes.append(Naming(self.position, name, target))

    def _directory(self, inode: int) -> Directory:
        """Another process may use a directory before the record of the one that made it."""
        if inode not in self._things:
            self._things[inode], self._paths[inode] = Directory(), ""
            self._nameless.add(inode)
        found = self._things[inode]
        assert isinstance(found, Directory)
        return found

    def write_image(self, folder: Path, mode: Mode, chooser: random.Random) -> None:
        """What a power cut now may leave: each root below `folder`, by its last component."""
        kept: dict[int, bool] = {}

        def is_kept(change: Naming) -> bool:
            match mode:
                case Mode.DROP:
                    return False
                case Mode.KEEP:
                    return True
                case Mode.TEAR:
                    return chooser.random() < 0.5
                case Mode.SUBSET:
                    return kept.setdefault(change.position, chooser.random() < 0.5)

        written: dict[File, Path] = {}

        def write(directory: Directory, path: Path) -> None:
            path.mkdir(mode=0o700)
            for name, thing in directory.after_cut(is_kept).items():
                target = path / name
                if isinstance(thing, Directory):
                    write(thing, target)
                elif thing in written:
                    target.hardlink_to(written[thing])
                else:
                    target.write_bytes(thing.after_cut(mode, chooser))
                    target.chmod(0o600)
                    written[thing] = target

        folder.mkdir()
        for path, root in self._roots.items():
            write(root, folder / Path(path).name)
