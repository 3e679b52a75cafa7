"""An authentication server of Dovecot's kind, on a Unix socket, that says what a test tells it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

USERDB_GREETING = b"VERSION\t1\t1\nSPID\t77\n"
CLIENT_GREETING = b"VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nSPID\t77\nCUID\t1\nCOOKIE\tab\nDONE\n"


@dataclass
class Script:
    """What the server says at once, what it answers to the question, and what it was told."""

    greeting: bytes
    answer: bytes
    question: bytes  # the line that begins with this is the question
    before: Callable[[], Awaitable[None]] | None = None  # run before the answer
    heard: list[bytes] = field(default_factory=list)
    connections: int = 0

    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._talk(reader, writer)
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self.greeting)
        while line := await reader.readline():
            self.heard.append(line)
            if line.startswith(self.question):
                if self.before is not None:
                    await self.before()
                writer.write(self.answer)
                await writer.drain()
                if not self.answer.endswith(b"\n"):
                    writer.write_eof()

    async def end(self) -> None:
        """No connection is left after this."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def userdb(answer: bytes, greeting: bytes = USERDB_GREETING) -> Script:
    return Script(greeting, answer, b"USER\t")


def client(answer: bytes, greeting: bytes = CLIENT_GREETING) -> Script:
    return Script(greeting, answer, b"AUTH\t")


@asynccontextmanager
async def listening(script: Script, path: Path) -> AsyncIterator[str]:
    """The socket's path, while the server runs."""
    server = await asyncio.start_unix_server(script.serve, path)
    try:
        yield str(path)
    finally:
        server.close()
        await script.end()
