"""What the queue asks of the file system, in one object that tests replace.

Every octet that a 250 depends on passes through here or through SQLite's VFS, whose name stands
here too. A failing `Disk` or VFS is how the failure tests provoke a full or broken disk.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

_IOV_MAX = 1024  # Linux: buffers a pwritev takes at most
_FILL = bytes(1 << 20)


class Disk:
    """The real disk."""

    vfs: str | None = None  # SQLite's; None: its default

    def create(self, path: Path) -> int:
        """A new file, opened for reading and writing; fails if it exists."""
        return os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)

    def write(self, descriptor: int, buffers: Sequence[bytes | memoryview], offset: int) -> int:
        """All of the buffers at `offset`; returns how many octets that were."""
        position = offset
        for first in range(0, len(buffers), _IOV_MAX):
            group = buffers[first : first + _IOV_MAX]
            wanted = sum(len(buffer) for buffer in group)
            written = os.pwritev(descriptor, group, position)
            if written < wanted:
                rest = memoryview(b"".join(group))
                while written < wanted:
                    written += os.pwrite(descriptor, rest[written:], position + written)
            position += wanted
        return position - offset

    def fill(self, descriptor: int, size: int) -> None:
        """Write zeros over the first `size` octets, so that later writes change no metadata."""
        for offset in range(0, size, len(_FILL)):
            self.write(descriptor, [memoryview(_FILL)[: size - offset]], offset)

    def sync_data(self, descriptor: int) -> None:
        os.fdatasync(descriptor)

    def sync(self, descriptor: int) -> None:
        os.fsync(descriptor)

    def sync_directory(self, path: Path) -> None:
        """Make names created, renamed or removed in a directory durable."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, old: Path, new: Path) -> None:
        old.rename(new)

    def unlink(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def free_share(self, path: Path) -> float:
        """The part of the file system that is free to us, 0 to 1."""
        values = os.statvfs(path)
        return values.f_bavail / values.f_blocks if values.f_blocks else 1.0
