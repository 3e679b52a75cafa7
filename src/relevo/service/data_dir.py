"""The data directory: made when missing, and held by one supervisor at a time.

The lock is a `flock` on `relevo.lock`. Workers inherit its open file description, so that a new
supervisor cannot start before the last worker of the old one is gone.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pwd
    from pathlib import Path

LOCK_NAME = "relevo.lock"


class DataDirError(Exception):
    """The data directory cannot be used; the text says why and what to do."""


class DataDirInUse(DataDirError):
    """Another process holds the data directory."""


class DataDirLock:
    """Holds the data directory until closed or until the process and its workers end."""

    def __init__(
        self,
        data_dir: Path,
        user: pwd.struct_passwd | None = None,
        descriptor: int | None = None,
    ) -> None:
        """Make the directory if need be and take the lock; `user` shall own what is made here.

        `descriptor`: the lock as the program before us in this process has taken it. Raises
        DataDirInUse, DataDirError.
        """
        if descriptor is not None:
            self._fd = descriptor
            return
        try:
            is_new = not data_dir.exists()
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(data_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if user is not None:
                os.fchown(self._fd, user.pw_uid, user.pw_gid)
                if is_new:
                    os.chown(data_dir, user.pw_uid, user.pw_gid)
        except OSError as error:
            raise DataDirError(
                f"cannot use data directory {data_dir}: {error.strerror} "
                "(see `data_dir` in the configuration)"
            ) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            raise DataDirInUse(
                f"data directory {data_dir} is in use by process {holder}: stop that server first"
            ) from error
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def fileno(self) -> int:
        """Whoever has this descriptor holds the directory."""
        return self._fd

    def close(self) -> None:
        """Give it up."""
        os.close(self._fd)
