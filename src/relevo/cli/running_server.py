"""The server that may be running on a data directory: told of changes, or kept away."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from relevo.queue import create_database
from relevo.queue.database import QueuePaths
from relevo.queue.loading import give_to_owner
from relevo.service.control import NotRunning, ask
from relevo.service.data_dir import LOCK_NAME, DataDirInUse, DataDirLock


def wake(data_dir: Path) -> None:
    """A running server looks at the queue now; one that starts later does so anyway."""
    with contextlib.suppress(NotRunning):
        ask(data_dir, "wake")


@contextlib.contextmanager
def kept_away(data_dir: Path) -> Iterator[None]:
    """No server runs on the data directory meanwhile. Raises DataDirInUse, DataDirError."""
    is_new = not (data_dir / LOCK_NAME).exists()
    lock = DataDirLock(data_dir)
    try:
        if is_new:
            give_to_owner(data_dir / LOCK_NAME, data_dir)
        yield
    finally:
        lock.close()


def make_queue(data_dir: Path) -> None:
    """A queue where none is yet, or an older one brought up to date.

    A running server has done so. Raises DatabaseError, DataDirError, OSError.
    """
    try:
        with kept_away(data_dir):
            create_database(data_dir)
            paths = QueuePaths(data_dir)
            if os.geteuid() == 0:
                for path in (paths.database, paths.lock, paths.spool):
                    give_to_owner(path, data_dir)
    except DataDirInUse:
        if not QueuePaths(data_dir).database.exists():
            raise
