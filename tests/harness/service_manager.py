"""The part of systemd that a service talks to: a socket for its notifications, and the watchdog."""

from __future__ import annotations

import select
import socket
import time
from pathlib import Path

from harness.waiting import WaitedInVain


class ServiceManager:
    """Hears what a service says; start the service with `environment`."""

    def __init__(self, folder: Path, *, watchdog_s: float = 0.0) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = folder / "notify"
        self._socket.bind(str(path))
        self.environment = {"NOTIFY_SOCKET": str(path)}
        if watchdog_s:
            self.environment["WATCHDOG_USEC"] = str(int(watchdog_s * 1e6))
        self.heard: list[str] = []

    def close(self) -> None:
        self._socket.close()

    def wait_for(self, word: str, *, timeout_s: float = 20.0) -> None:
        """Until a message that begins a line with `word` comes; earlier ones do not count."""
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self._socket], [], [], left)[0]:
                lines = self._socket.recv(4096).decode().splitlines()
                self.heard += lines
                if any(line.startswith(word) for line in lines):
                    return
        raise WaitedInVain(f"the service did not say {word}, but {self.heard[-10:]}")

    def silence(self, word: str, seconds: float) -> bool:
        """No message with `word` comes for so long."""
        try:
            self.wait_for(word, timeout_s=seconds)
        except WaitedInVain:
            return True
        return False
