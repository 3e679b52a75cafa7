"""A small disk of its own for a server: one that runs full and breaks for real.

For root it is an ext4 file system in a file (a loop device), broken by the ioctl that shuts it
down: from one moment to the next every call fails. It is frozen just before, so what a cache loses
is left to the power-cut suite: the kind of shutdown that drops the journal too lets an fdatasync
under way report success for octets that it drops (plain appends, Linux 6.18: 16 of 516 files).
Where nobody may mount, the same is injected into the server's calls.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from fault.injected.board import Board, Fault, Operation
from harness import debian
from harness.waiting import wait_for

SIZE = 96 * 1024 * 1024
_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN
_AFTER_A_FREEZE = struct.pack("I", 0)


class SmallDisk(Protocol):
    """What a test does to a disk. `folder`: its root."""

    @property
    def folder(self) -> Path: ...
    def fill(self) -> None:
        """Nothing is free any more."""

    def free(self) -> None:
        """There is room again."""

    def shut_down(self) -> None:
        """It fails from now on."""

    def repair(self) -> None:
        """It works again. No process uses it meanwhile."""


class LoopDisk:
    """A file system in a file."""

    def __init__(self, path: Path) -> None:
        """Raises CalledProcessError where mounting is not allowed."""
        self._image, self.folder = path / "disk.img", path / "disk"
        self._ballast = self.folder / "ballast"
        self.folder.mkdir()
        with self._image.open("wb") as image:
            image.truncate(SIZE)
        _run(debian.program("mkfs.ext4"), "-q", "-F", "-m", "0", self._image)
        # One device for all mounts: a second one on the same file would have a cache of its own.
        self._device = _run("losetup", "--find", "--show", self._image).strip()
        try:
            self._mount()
        except subprocess.CalledProcessError:
            self._detach()
            raise

    def _mount(self) -> None:
        _run("mount", self._device, self.folder)

    def _unmount(self) -> None:
        wait_for(self._is_unmounted, what=f"the end of who uses {self.folder}")

    def _is_unmounted(self) -> bool:
        try:
            _run("umount", self.folder)
        except subprocess.CalledProcessError:  # a killed process is still being taken apart
            return False
        return True

    def _detach(self) -> None:
        _run("losetup", "--detach", self._device)

    def fill(self) -> None:
        with self._ballast.open("wb") as ballast:
            piece = SIZE
            while piece >= 4096:
                try:
                    os.posix_fallocate(ballast.fileno(), ballast.seek(0, os.SEEK_END), piece)
                except OSError:
                    piece //= 2

    def free(self) -> None:
        self._ballast.unlink()

    def shut_down(self) -> None:
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, _AFTER_A_FREEZE)
        finally:
            os.close(descriptor)

    def repair(self) -> None:
        wait_for(self._is_mounted_anew, what=f"another life of {self.folder}")

    def _is_mounted_anew(self) -> bool:
        """A process with mounts of its own may hold the file system that was shut down."""
        self._unmount()
        self._mount()
        try:
            (self.folder / "probe").touch()
        except OSError:
            return False
        return True

    def close(self) -> None:
        self._unmount()
        self._detach()


class InjectedDisk:
    """A folder; the faults are those of the server's calls."""

    def __init__(self, path: Path, board: Board) -> None:
        self.folder = path / "disk"
        self.folder.mkdir()
        self._board = board
        self._faults = ExitStack()

    def _fail(self, operations: Operation, error: int) -> None:
        fault = Fault(operations=operations, path=str(self.folder), error=error)
        self._faults.enter_context(self._board.inject(fault))

    def fill(self) -> None:
        self._fail(Operation.WRITE, errno.ENOSPC)

    def free(self) -> None:
        self._faults.close()

    def shut_down(self) -> None:
        self._fail(~Operation(0), errno.EIO)

    def repair(self) -> None:
        self._faults.close()


def _run(*words: str | Path) -> str:
    done = subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True)
    return done.stdout


@contextmanager
def small_disk(path: Path, board: Board) -> Iterator[SmallDisk]:
    """A disk below `path`, real where that is allowed."""
    path.mkdir(exist_ok=True)
    if os.geteuid() == 0:
        (path / "loop").mkdir()
        try:
            disk = LoopDisk(path / "loop")
        except subprocess.CalledProcessError:
            pass
        else:
            try:
                yield disk
            finally:
                disk.close()
            return
    yield InjectedDisk(path, board)
