"""Hashing a body beside the loop: while it arrives, or when all of it is there.

One thread a worker does it, so that pieces keep their order. A piece is small, because the
interpreter lock is held for each of them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from relevo.mailauth.dkim import PIECE, BodyHashes, WantedHash
from relevo.reception.arriving import HIGH_WATER

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Future, ThreadPoolExecutor

INLINE = 64 * 1024  # octets that are hashed at once: the worst take a millisecond


class BodyWatch:
    """Hashes of a large body, made while it arrives."""

    def __init__(self, wanted: Iterable[WantedHash], thread: ThreadPoolExecutor) -> None:
        self._hashes = BodyHashes(wanted)
        self._thread = thread
        self._waiting: list[bytes] = []
        self._waiting_size = 0
        self._under_way: deque[tuple[Future[None], int]] = deque()

    def add(self, data: bytes) -> None:
        """More of the body."""
        self._waiting.append(data)
        self._waiting_size += len(data)
        if self._waiting_size >= PIECE:
            self._hand_over()

    def _hand_over(self) -> None:
        data = b"".join(self._waiting)
        self._waiting.clear()
        self._waiting_size = 0
        for start in range(0, len(data), PIECE):
            piece = data[start : start + PIECE]
            self._under_way.append((self._thread.submit(self._hashes.add, piece), len(piece)))

    @property
    def pending(self) -> int:
        """Octets that are not hashed yet."""
        while self._under_way and self._under_way[0][0].done():
            self._under_way.popleft()
        return sum(size for _, size in self._under_way)

    async def drained(self) -> None:
        """Until less than half of what stops reading is pending."""
        while self.pending > HIGH_WATER // 2:
            await asyncio.wrap_future(self._under_way[0][0])

    async def hashes(self) -> BodyHashes:
        """All of them, when everything is hashed; nothing is added any more."""
        self._hand_over()
        while self.pending:
            await asyncio.wrap_future(self._under_way[-1][0])
        return self._hashes


async def hash_pieces(
    pieces: Iterable[bytes], wanted: Iterable[WantedHash], thread: ThreadPoolExecutor
) -> BodyHashes:
    """The hashes of a body that is there: at once when it is small, else in the thread.

    Reading the pieces may touch the disk; that too is done in the thread.
    """
    hashes = BodyHashes(wanted)

    def hash_all() -> None:
        for piece in pieces:
            for start in range(0, len(piece), PIECE):
                hashes.add(piece[start : start + PIECE])

    if isinstance(pieces, tuple) and sum(map(len, pieces)) <= INLINE:
        hash_all()
    else:
        await asyncio.get_running_loop().run_in_executor(thread, hash_all)
    return hashes
