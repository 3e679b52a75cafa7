"""Whether a chasquid still works on a data directory.

Newer ones answer on a socket there. Older ones are looked for among the processes: chasquid's
working directory is its config directory, which says where its data is. Processes that may not be
looked at are taken for others; the listeners of a server that is started meanwhile collide anyway.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from relevo.config import ConfigErrors, load

_SOCKET = "localrpc-v1"
_PROGRAM = "chasquid"
_PATIENCE = 2.0


def is_running_on(directory: Path) -> bool:
    return _answers(directory / _SOCKET) or any(
        _same(one, directory) for one in data_dirs(Path("/proc"))
    )


def _answers(path: Path) -> bool:
    """The socket's file stays behind when chasquid ends."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_PATIENCE)
        with contextlib.suppress(OSError):
            connection.connect(str(path))
            return True
    return False


def data_dirs(processes: Path) -> Iterator[Path]:
    """Of the chasquids that run, as far as they can be seen."""
    for entry in processes.iterdir():
        if not entry.name.isdecimal():
            continue
        with contextlib.suppress(OSError, ConfigErrors):
            if (entry / "comm").read_text().strip() == _PROGRAM:
                yield load((entry / "cwd").readlink()).data_dir


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
