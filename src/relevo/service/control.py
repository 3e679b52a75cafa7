"""The control socket: one question, one JSON answer, for `relevo status` and `relevo reload`.

`<data_dir>/control.sock`, mode 0600: file permissions are the only access control. Served by the
supervisor between its other duties, so a question has a short deadline.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SOCKET_NAME = "control.sock"
_PATIENCE = 2.0  # seconds for the asker to send and take
_MAX_REQUEST = 4096
_MAX_ADDRESS = 107  # octets of sun_path, see unix(7)


class NotRunning(Exception):
    """No server answers on the data directory."""


class ControlSocket:
    """The supervisor's end."""

    def __init__(
        self,
        data_dir: Path,
        answer: Callable[[str], dict[str, object]],
        descriptor: int | None = None,
    ) -> None:
        """`descriptor`: the socket as the program before us in this process has left it."""
        self._path = data_dir / SOCKET_NAME
        self._answer = answer
        if descriptor is not None:
            self.socket = socket.socket(fileno=descriptor)
            return
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        with _address(self._path) as address:
            self.socket.bind(address)
        self._path.chmod(0o600)
        self.socket.listen(16)

    def serve(self) -> None:
        """Answer one asker; a slow or broken one is dropped."""
        with contextlib.suppress(OSError):
            connection, _ = self.socket.accept()
            with connection:
                connection.settimeout(_PATIENCE)
                request = connection.recv(_MAX_REQUEST).decode("utf-8", "replace").strip()
                connection.sendall(json.dumps(self._answer(request)).encode())

    def close(self) -> None:
        """No more questions."""
        self.socket.close()
        with contextlib.suppress(OSError):
            self._path.unlink()


def ask(data_dir: Path, request: str, patience: float = 10.0) -> dict[str, Any]:
    """Ask the running server. Raises NotRunning."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(patience)
            with _address(data_dir / SOCKET_NAME) as address:
                connection.connect(address)
            connection.sendall(request.encode() + b"\n")
            connection.shutdown(socket.SHUT_WR)
            parts = []
            while part := connection.recv(65536):
                parts.append(part)
        answer = json.loads(b"".join(parts))
    except (OSError, ValueError) as error:
        raise NotRunning(f"no server is running on {data_dir}") from error
    assert isinstance(answer, dict)
    return answer


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str]:
    """A socket address of at most 107 octets for a path of any length."""
    if len(str(path).encode()) <= _MAX_ADDRESS:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
