"""Changing a small file whole: readers see the old content or the new, also after a crash.

Writers that go through `exclusive` take turns, so that none overwrites what another has just
added. The lock is on the folder itself: nothing is left behind, and no lock file can belong to
the wrong user.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCK_TIMEOUT_S = 10.0
_POLL_S = 0.01


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the folder against other writers. Raises TimeoutError, OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + LOCK_TIMEOUT_S
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{folder} is locked by another writer")
            time.sleep(_POLL_S)
        yield
    finally:
        os.close(descriptor)


def replace_file(path: Path, data: bytes, *, mode: int) -> None:
    """Write `path` anew with this mode; an old file's owner and group are kept.

    On stable storage when it returns. Raises OSError, also when the group cannot be kept: a file
    that the server could no longer read must not replace one that it can.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            _keep_owner(path, file.fileno())
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _keep_owner(old: Path, descriptor: int) -> None:
    try:
        status = old.stat()
    except FileNotFoundError:
        return
    try:
        os.fchown(descriptor, status.st_uid, status.st_gid)
    except PermissionError:
        # Only root gives files away; with its group kept, the old owner still has access.
        os.fchown(descriptor, -1, status.st_gid)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
