"""Connections to one server, a bounded number, kept for a short time to be used again."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relevo.delivery.link_values import LinkFailed
from relevo.delivery.peer_link import PeerLink

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

IDLE_S = 15.0
SLOT_S = 60.0
MAX_AGE_S = 300.0
MAX_TRANSACTIONS = 1000


@dataclass(frozen=True, slots=True)
class _Idle:
    link: PeerLink
    timer: asyncio.TimerHandle


class LinkPool:
    """Gives links out; each must be given back, usable or not."""

    def __init__(self, connect: Callable[[], Awaitable[PeerLink]], limit: int) -> None:
        self._connect = connect
        self._limit = limit
        self._slots = asyncio.Semaphore(limit)
        self._idle: deque[_Idle] = deque()
        self._is_closing = False

    async def take(self) -> tuple[PeerLink, bool]:
        """A link, and whether it was used before. Raises LinkFailed."""
        try:
            async with asyncio.timeout(SLOT_S):
                await self._slots.acquire()
        except TimeoutError:
            raise LinkFailed(f"all {self._limit} connections are in use") from None
        try:
            while self._idle:
                idle = self._idle.pop()
                idle.timer.cancel()
                if idle.link.is_usable:
                    return idle.link, True
            return await self._connect(), False
        except BaseException:
            self._slots.release()
            raise

    def give_back(self, link: PeerLink) -> None:
        """Keep the link for the next one who needs it, if it is usable."""
        self._slots.release()
        is_worn = link.transactions >= MAX_TRANSACTIONS or link.age_s >= MAX_AGE_S
        if is_worn or self._is_closing or not link.is_usable:
            link.close()
            return
        timer = asyncio.get_running_loop().call_later(IDLE_S, self._drop_oldest)
        self._idle.append(_Idle(link, timer))

    def forget_idle(self) -> None:
        """Close what is not in use: one of them was found dead."""
        while self._idle:
            idle = self._idle.pop()
            idle.timer.cancel()
            idle.link.close()

    def close(self) -> None:
        """Close what is not in use now, and the rest when it is given back."""
        self._is_closing = True
        self.forget_idle()

    def _drop_oldest(self) -> None:
        # Timers fire in the order of the deque: both grow at the same end.
        self._idle.popleft().link.close()
