"""Telling the service manager how we are: the protocol of sd_notify(3), without its library.

`NOTIFY_SOCKET` names a datagram socket, by path or, beginning with @, in the abstract namespace.
A message that cannot be sent is dropped: mail does not depend on who watches. With `WATCHDOG_USEC`
set, the manager wants a sign of life more often than that, or it kills us.

The variables stay in the environment, for a restart keeps it, and the process id.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

logger = logging.getLogger("relevo.supervisor")


class Notifier:
    """The way to the service manager; silent when there is none."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        name = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name
        self._interval = _watchdog_interval(environ) if name else 0.0
        self._due = 0.0

    def ready(self, status: str) -> None:
        """All of it serves: after the start, a reload, or a restart."""
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """A reload or restart begins; `ready` ends it."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now}")

    def stopping(self, status: str) -> None:
        """No new connections; `status` says what is waited for."""
        self._send("STOPPING=1", f"STATUS={status}")

    def status(self, status: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={status}")

    def next_sign(self) -> float | None:
        """When a sign of life is due (of time.monotonic()); None: nobody waits for one."""
        return self._due if self._interval else None

    def give_sign(self, now: float, *, is_well: bool) -> None:
        """The watchdog's sign of life, if it is due and all is well."""
        if not self._interval or now < self._due:
            return
        self._due = now + self._interval
        if is_well:
            self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            logger.debug("the service manager cannot be told: %s", error)


def _watchdog_interval(environ: Mapping[str, str]) -> float:
    """Seconds between signs: half of what the manager waits for; 0.0: it does not."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    microseconds = environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 2e6 if microseconds.isdecimal() else 0.0
