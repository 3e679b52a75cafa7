"""Hooks without a server: a host of one's own, for commands that run for a moment."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

from relevo.hooks.host import PoolSockets, start_host
from relevo.hooks.settings import pool_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relevo.config import Config

_END_WITHIN = 10.0


@contextlib.contextmanager
def own_host(config: Config) -> Iterator[PoolSockets]:
    """Sockets for a `Caller`; the host and everything below it end with the block."""
    sockets = PoolSockets.make()
    pid, control = start_host(sockets, pool_settings(config))
    try:
        yield sockets
    finally:
        control.close()
        sockets.close()
        deadline = time.monotonic() + _END_WITHIN
        while not os.waitpid(pid, os.WNOHANG)[0] and time.monotonic() < deadline:
            time.sleep(0.002)
