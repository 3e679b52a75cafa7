"""One connection to a service: what it says stays in a bounded buffer until it is asked for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from relevo.hooks.services.failures import ServiceFailed

if TYPE_CHECKING:
    from collections.abc import Callable

BUFFERED = 512 * 1024
"""Octets after which no more is read before they are taken; nothing longer can be asked for."""


class Connection(asyncio.Protocol):
    """Made by `Connections`. Who uses it is alone."""

    def __init__(self) -> None:
        self.is_new = True
        self.has_answered = False  # in this use
        self.may_be_kept = False  # whether another call may use it
        self.idle_since = 0.0
        self.key: object = None  # for whose calls it may be used again
        self.notes: object = None  # what a form knows of this connection
        self.farewell = b""  # is sent before it is closed
        self._buffer = bytearray()
        self._is_over = False
        self._is_paused = False
        self._can_write = asyncio.Event()
        self._can_write.set()
        self._waiter: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None

    # -- what asyncio tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by type

    def data_received(self, data: bytes) -> None:
        self.has_answered = True
        self._buffer += data
        if len(self._buffer) >= BUFFERED and not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self._is_over = True
        self._wake()

    def connection_lost(self, _error: Exception | None) -> None:
        self._is_over = True
        self._can_write.set()
        self._wake()

    def pause_writing(self) -> None:
        self._can_write.clear()

    def resume_writing(self) -> None:
        self._can_write.set()

    # -- what the forms ask

    @property
    def is_quiet(self) -> bool:
        """It is there, and has said nothing that nobody asked for."""
        return not (self._is_over or self._buffer)

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._is_over:
            self._transport.write(data)

    async def drain(self) -> None:
        """Until the service has taken enough of what was written."""
        await self._can_write.wait()

    async def exactly(self, size: int) -> bytes:
        """The next octets; at most `BUFFERED`. Raises ServiceFailed."""
        if len(self._buffer) < size:
            await self._until(lambda: len(self._buffer) >= size)
        return self._take(size)

    async def counted(self, head: int, length_of: Callable[[bytes], int]) -> bytes:
        """What follows so many octets that say how long it is. Raises ServiceFailed."""
        buffer = self._buffer
        if len(buffer) < head:
            await self._until(lambda: len(buffer) >= head)
        end = head + length_of(bytes(buffer[:head]))
        if len(buffer) < end:
            await self._until(lambda: len(buffer) >= end)
        data = bytes(buffer[head:end])
        del buffer[:end]
        return data

    async def through(self, mark: bytes, limit: int) -> bytes:
        """What comes up to `mark`, with it. Raises ServiceFailed."""
        end = -1

        def is_there() -> bool:
            nonlocal end
            end = self._buffer.find(mark, 0, limit)
            return end >= 0 or len(self._buffer) >= limit

        await self._until(is_there)
        if end < 0:
            raise ServiceFailed(f"its answer is longer than {limit} octets")
        return self._take(end + len(mark))

    async def rest(self, limit: int) -> bytes:
        """All until it closes the connection. Raises ServiceFailed."""
        while not self._is_over:
            if len(self._buffer) > limit:
                break
            await self._more()
        if len(self._buffer) > limit:
            raise ServiceFailed(f"its answer is longer than {limit} octets")
        return self._take(len(self._buffer))

    def close(self) -> None:
        """At once; what is not sent yet is not sent."""
        if self._transport is not None:
            if self.farewell and not self._is_over:
                self._transport.write(self.farewell)
                self._transport.close()
            else:
                self._transport.abort()
        self._is_over = True

    async def _until(self, is_there: Callable[[], bool]) -> None:
        while not is_there():
            if self._is_over:
                raise ServiceFailed("it closed the connection in the middle of a call")
            await self._more()

    async def _more(self) -> None:
        if self._is_paused and self._transport is not None and len(self._buffer) < BUFFERED:
            self._is_paused = False
            self._transport.resume_reading()
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _take(self, size: int) -> bytes:
        data = bytes(memoryview(self._buffer)[:size])
        del self._buffer[:size]
        return data

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
