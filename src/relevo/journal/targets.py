"""Where mail log lines go: a file or stream, syslog, or nowhere.

A target writes whole lines and may raise OSError; that a full disk costs nobody his mail is the
business of `relevo.journal.sink`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

SYSLOG_SOCKET = Path("/dev/log")

_SYSLOG_PRIORITY = (2 << 3) | 6  # facility mail, severity info (RFC 3164 §4.1.1)
_SYSLOG_LINE = 8 * 1024 - 256  # what common daemons take as one message
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Target(Protocol):
    """Takes the lines of one loop iteration; each without its line end."""

    @property
    def wants_time(self) -> bool:
        """Whether lines must carry their own time."""

    def write(self, lines: Sequence[bytes]) -> None:
        """Write the lines; raises OSError when some of them could not be written."""

    def reopen(self) -> None:
        """Let go of a file that was renamed away; on OSError the old one stays open."""

    def close(self) -> None: ...


class FileTarget:
    """A file, opened for appending, or a standard stream (`descriptor`)."""

    wants_time = True

    def __init__(self, path: Path | None, *, descriptor: int = -1) -> None:
        self._path = path
        self._descriptor = descriptor if path is None else _open_for_append(path)
        self._is_torn = False

    def write(self, lines: Sequence[bytes]) -> None:
        # One write of whole lines on O_APPEND: several workers share the file without mixing.
        data = b"\n".join(lines) + b"\n"
        if self._is_torn:
            data = b"\n" + data
        written = 0
        try:
            while written < len(data):
                written += os.write(self._descriptor, data[written:] if written else data)
        finally:
            if written:
                self._is_torn = written < len(data)

    def reopen(self) -> None:
        if self._path is None:
            return
        fresh = _open_for_append(self._path)
        os.close(self._descriptor)
        self._descriptor = fresh
        self._is_torn = False

    def close(self) -> None:
        if self._path is not None and self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class SyslogTarget:
    """The local syslog daemon, one datagram a line; never waits for it."""

    wants_time = False

    def __init__(self, tag: str, path: Path = SYSLOG_SOCKET) -> None:
        self._tag = tag
        self._path = path
        self._socket = self._connect()

    def write(self, lines: Sequence[bytes]) -> None:
        at = time.localtime()
        head = (
            f"<{_SYSLOG_PRIORITY}>{_MONTHS[at.tm_mon - 1]} {at.tm_mday:2} "
            f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} {self._tag}[{os.getpid()}]: "
        ).encode()
        for line in lines:
            datagram = head + line[:_SYSLOG_LINE]
            try:
                self._socket.send(datagram)
            except (ConnectionError, FileNotFoundError):
                self.reopen()  # the daemon was restarted and has a new socket
                self._socket.send(datagram)

    def reopen(self) -> None:
        fresh = self._connect()
        self._socket.close()
        self._socket = fresh

    def close(self) -> None:
        self._socket.close()

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            connection.setblocking(False)
            connection.connect(str(self._path))
        except OSError:
            connection.close()
            raise
        return connection


def _open_for_append(path: Path) -> int:
    """Descriptor of a log file, 0644; its folder is made, 0775, when it is missing."""
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(PermissionError):
            path.parent.chmod(0o775)  # whatever the umask says: log readers are in the group
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
