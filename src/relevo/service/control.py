"""The control socket: one question, one JSON answer, for `relevo status` and `relevo reload`.

`<data_dir>/control.sock`, mode 0600: file permissions are the only access control. Served by the
supervisor between its other duties, so a question has a short deadline.
"""

from __future__ import annotations

import contextlib
import json
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SOCKET_NAME = "control.sock"
_PATIENCE = 2.0  # seconds for the asker to send and take
_MAX_REQUEST = 4096


class NotRunning(Exception):
    """No server answers on the data directory."""


class ControlSocket:
    """The supervisor's end."""

    def __init__(self, data_dir: Path, answer: Callable[[str], dict[str, object]]) -> None:
        self._path = data_dir / SOCKET_NAME
        self._answer = answer
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        self.socket.bind(_short(self._path))
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
            connection.connect(_short(data_dir / SOCKET_NAME))
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


def _short(path: Path) -> str:
    """A path that fits into a socket address (108 octets), through the folder's descriptor."""
    return str(path)
