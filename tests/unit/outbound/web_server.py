"""A web server in the test's own loop, which answers what a test tells it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """An answer of type text/plain with its length."""
    lines = [f"HTTP/1.1 {status}", "Content-Type: text/plain; charset=utf-8", *headers]
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass
class WebServer:
    """`answer` b"": none ever comes."""

    context: ssl.SSLContext
    answer: bytes
    requests: list[bytes] = field(default_factory=list)
    port: int = 0
    gate: asyncio.Event | None = None  # answers wait for it
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                await self._answer(reader, writer)
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        self.requests.append(head + await reader.readexactly(int(length or b"0")))
        if self.gate is not None:
            await self.gate.wait()
        if not self.answer:
            await asyncio.sleep(100)
        writer.write(self.answer)
        await writer.drain()


@asynccontextmanager
async def serving(
    server: WebServer, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[WebServer]:
    """The server, while it runs on a loopback port."""
    listener = await asyncio.start_server(server.serve, host, port, ssl=server.context)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in list(server._tasks):
            task.cancel()
        await asyncio.gather(*server._tasks, return_exceptions=True)
