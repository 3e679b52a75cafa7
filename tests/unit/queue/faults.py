"""A disk that fails when told to, for files of the spool and for SQLite's."""

from __future__ import annotations

import errno
import itertools
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import apsw

from relevo.queue.disk import Disk

_names = itertools.count()


def broken(code: int = errno.EIO) -> OSError:
    return OSError(code, os.strerror(code))


class FaultyDisk(Disk):
    """Fails the operations in `failing`, and counts all of them."""

    def __init__(self) -> None:
        self.failing: dict[str, OSError] = {}
        self.calls: Counter[str] = Counter()
        self.free = 1.0

    def _may_fail(self, operation: str) -> None:
        self.calls[operation] += 1
        if operation in self.failing:
            raise self.failing[operation]

    def create(self, path: Path) -> int:
        self._may_fail("create")
        return super().create(path)

    def write(self, descriptor: int, buffers: Sequence[bytes | memoryview], offset: int) -> int:
        self._may_fail("write")
        return super().write(descriptor, buffers, offset)

    def sync_data(self, descriptor: int) -> None:
        self._may_fail("sync_data")
        super().sync_data(descriptor)

    def sync(self, descriptor: int) -> None:
        self._may_fail("sync")
        super().sync(descriptor)

    def sync_directory(self, path: Path) -> None:
        self._may_fail("sync_directory")
        super().sync_directory(path)

    def unlink(self, path: Path) -> None:
        self._may_fail("unlink")
        super().unlink(path)

    def free_share(self, path: Path) -> float:
        self._may_fail("free_share")
        return self.free


class FaultyVFS(apsw.VFS):
    """SQLite's file system whose WAL cannot be written or synced while `error` is set."""

    def __init__(self) -> None:
        self.name = f"relevo-faulty-{next(_names)}"
        self.fail_sync: apsw.Error | None = None
        self.fail_write: apsw.Error | None = None
        super().__init__(self.name, base="")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 (apsw's name)
        return _FaultyFile(self, name, flags)


class _FaultyFile(apsw.VFSFile):
    def __init__(
        self, vfs: FaultyVFS, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> None:
        self._vfs = vfs
        self._is_wal = bool(flags[0] & apsw.SQLITE_OPEN_WAL)
        super().__init__("", name, flags)

    def xSync(self, flags: int) -> None:  # noqa: N802 (apsw's name)
        if self._is_wal and self._vfs.fail_sync is not None:
            raise self._vfs.fail_sync
        super().xSync(flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 (apsw's name)
        if self._is_wal and self._vfs.fail_write is not None:
            raise self._vfs.fail_write
        super().xWrite(data, offset)
