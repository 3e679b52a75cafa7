"""An LMTP server in the test's own loop, which does what a test tells it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

_PATH = re.compile(rb"<([^>]*)>")


@dataclass
class Taken:
    """A message that was taken, for the recipients that were accepted."""

    mail: bytes
    recipients: list[bytes]
    body: bytes


@dataclass
class LmtpServer:
    """Answers by address; `cut_at` and `hang_at` name the command at which it misbehaves.

    "END" is the end of the message: before its first answer. `cut_after`: answers to END that are
    given before the connection is cut.
    """

    extensions: tuple[bytes, ...] = (b"PIPELINING", b"8BITMIME", b"SIZE", b"ENHANCEDSTATUSCODES")
    greeting: bytes = b"220 lmtp.test ready\r\n"
    rcpt: dict[bytes, bytes] = field(default_factory=dict)
    end: dict[bytes, bytes] = field(default_factory=dict)
    answers: dict[bytes, bytes] = field(default_factory=dict)  # by verb, instead of the usual one
    cut_at: bytes = b""
    hang_at: bytes = b""
    cut_after: int | None = None
    commands: list[bytes] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)
    connections: int = 0
    open_now: int = 0
    most_open: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)  # set: whoever waits may go on
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            writer.write(self.greeting)
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open_now -= 1
            self._changed.set()
            writer.transport.abort()
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mail, recipients = b"", list[bytes]()
        while line := await reader.readline():
            self.commands.append(line.rstrip())
            self._changed.set()
            verb = line[:4].upper()
            if await self._misbehaves(verb.strip()):
                return
            if verb in self.answers:
                writer.write(self.answers[verb])
            elif verb == b"LHLO":
                lines = (b"lmtp.test", *self.extensions)
                writer.writelines(b"250-" + word + b"\r\n" for word in lines[:-1])
                writer.write(b"250 " + lines[-1] + b"\r\n")
            elif verb == b"RCPT":
                address = path_in(line)
                answer = self.rcpt.get(address, b"250 2.1.5 ok\r\n")
                writer.write(answer)
                if answer.startswith(b"2"):
                    recipients.append(address)
            elif verb == b"DATA":
                if not recipients:
                    writer.write(b"503 5.5.1 no recipients\r\n")
                    continue
                writer.write(b"354 go on\r\n")
                body = await reader.readuntil(b"\r\n.\r\n")
                if await self._misbehaves(b"END"):
                    return
                self.taken.append(Taken(mail, recipients, body[:-3]))
                for number, address in enumerate(recipients):
                    if number == self.cut_after:
                        await writer.drain()
                        return
                    writer.write(self.end.get(address, b"250 2.0.0 saved\r\n"))
                mail, recipients = b"", []
            elif verb == b"QUIT":
                writer.write(b"221 2.0.0 bye\r\n")
                return
            else:
                if verb in {b"MAIL", b"RSET"}:
                    mail, recipients = line.rstrip(), []
                writer.write(b"250 2.0.0 ok\r\n")

    async def _misbehaves(self, at: bytes) -> bool:
        if at == self.hang_at:
            await self.idle.wait()
        return at == self.cut_at

    async def until(self, look: Callable[[], bool]) -> None:
        """Wait for what commands and ends of connections bring about."""
        while not look():
            self._changed.clear()
            await self._changed.wait()

    def cut_all(self) -> None:
        """As a server that is restarted."""
        for writer in self._writers:
            writer.transport.abort()

    def say_to_all(self, octets: bytes) -> None:
        """Unasked."""
        for writer in self._writers:
            writer.write(octets)

    async def end_all(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def path_in(line: bytes) -> bytes:
    found = _PATH.search(line)
    assert found is not None, line
    return found[1]


@asynccontextmanager
async def listening(server: LmtpServer, folder: Path) -> AsyncIterator[str]:
    """The path of the socket, while the server runs."""
    path = folder / "lmtp"
    listener = await asyncio.start_unix_server(server.serve, path, limit=100_000_000)
    try:
        yield str(path)
    finally:
        listener.close()
        await server.end_all()
