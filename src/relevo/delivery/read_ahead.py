"""A body that comes from the disk, read in a thread while the piece before it is sent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class ReadAhead:
    """The pieces of a body that come from the disk, each read in a thread before it is needed."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._held: list[bytes] = []

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return self._held.pop() if self._held else next(self._pieces)

    def begin_with(self, piece: bytes) -> None:
        """Put something in front, before anything is read."""
        assert not self._held
        self._held.append(piece)

    async def fill(self) -> None:
        """Have a piece at hand, if there is one left. Raises what reading raises."""
        if not self._held:
            piece = await asyncio.to_thread(next, self._pieces, None)
            if piece is not None:
                self._held.append(piece)
