"""The message as the stdin of a hook: a file of its own that the hook can read and nothing else.

A sealed memfd up to 1 MiB, above it an unlinked temporary file opened read-only. Every call gets a
file of its own, so that neither its offset nor its octets are shared with anybody. What is small
goes to the launcher as octets, which makes the memfd of them.
"""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

INLINE_LIMIT = 8 * 1024
"""Octets that may go to the launcher in the packet of the call."""

MEMFD_LIMIT = 1024 * 1024
_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL


def memory_file(data: bytes) -> int:
    """Descriptor of a sealed copy of `data`, at its beginning. Raises OSError."""
    descriptor = os.memfd_create("relevo-hook", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        if os.pwrite(descriptor, data, 0) != len(data):
            raise OSError(errno.ENOSPC, "no memory for the input of a hook")
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def disk_file(pieces: Iterable[bytes]) -> int:
    """The same for a large message; blocking. Raises OSError."""
    import tempfile  # noqa: PLC0415 - launchers load this module and need nothing of that

    with tempfile.TemporaryFile(prefix="relevo-hook-") as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        return os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDONLY | os.O_CLOEXEC)


def octets_of(data: int | bytes) -> bytes:
    """An input that is in memory, or all of a file."""
    if isinstance(data, bytes):
        return data
    return os.pread(data, os.fstat(data).st_size, 0)
