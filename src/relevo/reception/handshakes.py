"""TLS handshakes of a worker take turns, so that a flood of them cannot hold the event loop.

The dear part of a handshake is our signature: milliseconds with RSA, in which nobody is served. So
one step of one handshake runs, then everybody else's octets, then the next step, in the order of
asking. Who waits has its deadline (`limits.handshake_timeout`) running, and is not read from; a
client that is slow itself holds no turn. A lone handshake does not wait at all.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class HandshakeTurns:
    """The line of one event loop. It is as long as there are connections at most."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], bool]] = deque()
        self._is_taken = False

    def __len__(self) -> int:
        return len(self._waiting)

    def ask(self, step: Callable[[], bool]) -> None:
        """Run the step when its turn comes, maybe now; False from it: there was nothing to do."""
        if self._is_taken:
            self._waiting.append(step)
        elif step():
            self._take()

    def _take(self) -> None:
        self._is_taken = True
        asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self._is_taken = False
        while self._waiting:
            if self._waiting.popleft()():
                self._take()
                return
