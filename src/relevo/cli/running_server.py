"""The server that may be running on a data directory: told of changes, or kept away."""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Iterator
from pathlib import Path

from relevo.config import Config
from relevo.queue import create_database
from relevo.queue.database import QueuePaths
from relevo.queue.loading import give_to_owner
from relevo.service.control import NotRunning, ask
from relevo.service.data_dir import DataDirInUse, DataDirLock


def wake(data_dir: Path) -> None:
    """A running server looks at the queue now; one that starts later does so anyway."""
    with contextlib.suppress(NotRunning):
        ask(data_dir, "wake")


@contextlib.contextmanager
def kept_away(config: Config) -> Iterator[None]:
    """No server runs on the data directory meanwhile; made, as the server would, if need be.

    Raises DataDirInUse, DataDirError.
    """
    lock = DataDirLock(config.data_dir, _server_user(config))
    try:
        yield
    finally:
        lock.close()


def make_queue(config: Config) -> None:
    """A queue where none is yet, or an older one brought up to date.

    A running server has done so. Raises DatabaseError, DataDirError, OSError.
    """
    paths = QueuePaths(config.data_dir)
    try:
        with kept_away(config):
            create_database(config.data_dir)
            for path in (paths.database, paths.lock, paths.spool):
                give_to_owner(path, config.data_dir)
    except DataDirInUse:
        if not paths.database.exists():
            raise


def _server_user(config: Config) -> pwd.struct_passwd | None:
    """Who shall own what root makes here."""
    if os.geteuid() != 0 or not config.server.user:
        return None
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(config.server.user)
    return None
