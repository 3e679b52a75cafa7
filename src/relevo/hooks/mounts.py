"""A read-only view of the file system, in a mount namespace of its own (mount_setattr(2))."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_BIND, _RECURSIVE, _PRIVATE = 4096, 16384, 1 << 18
_MOUNT_SETATTR = 442
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_READ_ONLY = 1  # MOUNT_ATTR_RDONLY


def make_read_only(writable: Iterable[str]) -> None:
    """All mounts, but what is below these paths. Needs CAP_SYS_ADMIN in its user namespace.

    Devices, pipes and sockets can be written to as before. Raises OSError.
    """
    _mount(b"none", b"/", _RECURSIVE | _PRIVATE)
    kept = [os.fsencode(path) for path in writable if os.path.exists(path)]  # noqa: PTH110
    for path in kept:
        _mount(path, path, _BIND | _RECURSIVE)
    _set(b"/", set_=_READ_ONLY, clear=0)
    for path in kept:
        _set(path, set_=0, clear=_READ_ONLY)


def _mount(source: bytes, target: bytes, flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source, target, None, ctypes.c_ulong(flags), None) != 0:
        _fail(target)


def _set(path: bytes, *, set_: int, clear: int) -> None:
    attributes = struct.pack("=QQQQ", set_, clear, 0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = (_AT_FDCWD, path, _AT_RECURSIVE, attributes, ctypes.c_size_t(len(attributes)))
    if libc.syscall(_MOUNT_SETATTR, *arguments) != 0:
        _fail(path)


def _fail(path: bytes) -> None:
    code = ctypes.get_errno()
    raise OSError(code, os.strerror(code), os.fsdecode(path))
