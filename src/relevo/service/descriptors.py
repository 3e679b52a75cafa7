"""Descriptors are bounded: a worker turns connections away before it has none left to work with.

When accept(2) finds no free descriptor, nothing else finds one either: no mailbox file can be
opened, no command started. So a share is kept back for the work on what was accepted; whoever
comes beyond it is told to come again (RFC 5321 §3.8: 421), and those who are there go on.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import time
from pathlib import Path
from typing import cast

logger = logging.getLogger("relevo.worker")

_WANTED = 65536
_KEPT_BACK = 512  # for mailbox files, commands, spool, look-ups, connections to others
_SHARE_KEPT_BACK = 4  # at most every fourth
_SAY_AGAIN = 60.0  # seconds


def raise_limit() -> None:
    """Let this process, and those that it starts, open as many as it may, up to 65,536."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED if hard == resource.RLIM_INFINITY else min(_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def most_connections() -> int:
    """How many this process can have beside its work and what it has open now."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        limit = 2**31
    limit -= sum(1 for _ in Path("/proc/self/fd").iterdir())
    return max(1, limit - min(_KEPT_BACK, limit // _SHARE_KEPT_BACK))


class Crowd:
    """Says, now and then, that a worker is full."""

    def __init__(self) -> None:
        self._said = -_SAY_AGAIN

    def say(self, connections: int) -> None:
        """One more was turned away."""
        now = time.monotonic()
        if now - self._said >= _SAY_AGAIN:
            self._said = now
            logger.error(
                "%d connections are all that the limit of open files allows; more get 421 "
                "(raise LimitNOFILE= or `ulimit -n`)",
                connections,
            )


class TurnedAway(asyncio.Protocol):
    """A connection that hears why, and ends. Where TLS comes first it hears nothing."""

    def __init__(self, hostname: str, *, is_tls: bool) -> None:
        self._words = b"" if is_tls else f"421 4.3.2 {hostname} too many connections\r\n".encode()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop has its own class
        if self._words:
            transport.write(self._words)
        transport.close()
