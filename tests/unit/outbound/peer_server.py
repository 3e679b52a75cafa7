"""An SMTP server in the test's own loop, with and without TLS, good or broken as a test wants."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

USER, PASSWORD = "u,s=er", "pässword"


@dataclass
class PeerServer:
    """`context`: of its TLS; None offers no STARTTLS. The rest is what it does wrong."""

    context: ssl.SSLContext | None = None
    is_implicit: bool = False
    greeting: bytes = b"220 mx.test ESMTP\r\n"
    extensions: tuple[bytes, ...] = (b"PIPELINING", b"SIZE 1000", b"8BITMIME")
    tls_extensions: tuple[bytes, ...] = (b"PIPELINING", b"8BITMIME")
    answers: dict[bytes, bytes] = field(default_factory=dict)  # by verb, instead of the usual one
    tls_reply: bytes = b"220 go on\r\n"
    breaks_tls: bytes | None = None  # sent instead of a handshake; b"": closes
    hangs_in_tls: bool = False
    is_silent_after_tls: bool = False
    commands: list[bytes] = field(default_factory=list)
    tls_commands: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    connections: int = 0
    resumed: int = 0
    port: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if self.is_implicit:
                self._note_resumption(writer)
            writer.write(self.greeting)
            await self._talk(reader, writer, is_tls=self.is_implicit)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    def _note_resumption(self, writer: asyncio.StreamWriter) -> None:
        tls = writer.get_extra_info("ssl_object")
        self.resumed += int(bool(tls.session_reused))

    async def _talk(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_tls: bool
    ) -> None:
        while line := await reader.readline():
            verb = line.split()[0].upper() if line.split() else b""
            (self.tls_commands if is_tls else self.commands).append(line.rstrip())
            if verb in self.answers:
                writer.write(self.answers[verb])
            elif verb == b"EHLO":
                writer.write(self._hello(is_tls=is_tls))
            elif verb == b"STARTTLS":
                if not await self._start_tls(writer):
                    return
                is_tls = self.tls_reply.startswith(b"220")
            elif verb == b"AUTH":
                await self._log_in(line.split(), reader, writer)
            elif verb == b"DATA":
                writer.write(b"354 go on\r\n")
                self.bodies.append((await reader.readuntil(b"\r\n.\r\n"))[:-3])
                writer.write(b"250 2.0.0 taken\r\n")
            elif verb == b"QUIT":
                writer.write(b"221 2.0.0 bye\r\n")
                return
            else:
                writer.write(b"250 2.0.0 ok\r\n")

    def _hello(self, *, is_tls: bool) -> bytes:
        words = list(self.tls_extensions if is_tls else self.extensions)
        if self.context is not None and not is_tls:
            words.append(b"STARTTLS")
        return b"".join(b"250-" + word + b"\r\n" for word in [b"mx.test", *words]) + b"250 END\r\n"

    async def _start_tls(self, writer: asyncio.StreamWriter) -> bool:
        writer.write(self.tls_reply)
        await writer.drain()
        if not self.tls_reply.startswith(b"220"):
            return True
        if self.breaks_tls is not None:
            writer.write(self.breaks_tls)
            await writer.drain()
            return False
        if self.hangs_in_tls:
            await asyncio.sleep(100)
        assert self.context is not None
        await writer.start_tls(self.context)
        self._note_resumption(writer)
        return not self.is_silent_after_tls

    async def _log_in(
        self, words: list[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        asked: list[bytes] = []
        if len(words) > 2:
            asked.append(base64.b64decode(words[2]))

        async def ask(challenge: bytes) -> bytes:
            writer.write(b"334 " + base64.b64encode(challenge) + b"\r\n")
            return base64.b64decode((await reader.readline()).strip())

        good = False
        match words[1]:
            case b"PLAIN":
                good = asked == [f"\0{USER}\0{PASSWORD}".encode()]
            case b"LOGIN":
                good = await ask(b"User") == USER.encode()
                good = await ask(b"Pass") == PASSWORD.encode() and good
            case b"OAUTHBEARER":
                good = asked == [b"n,a=u=2Cs=3Der,\x01auth=Bearer p\xc3\xa4ssword\x01\x01"]
                if not good:
                    good = await ask(b'{"status":"invalid_token"}') != b"\x01"
            case b"SCRAM-SHA-256":
                good = await self._scram(asked[0], ask)
        writer.write(b"235 2.7.0 in\r\n" if good else b"535 5.7.8 no\r\n")

    async def _scram(self, first: bytes, ask: object) -> bool:
        from scramp import ScramException, ScramMechanism

        assert callable(ask)
        mechanism = ScramMechanism("SCRAM-SHA-256")
        auth = mechanism.make_auth_info(PASSWORD, iteration_count=4096)
        server = mechanism.make_server(lambda _user: auth)
        try:
            server.set_client_first(first.decode())
            server.set_client_final((await ask(server.get_server_first().encode())).decode())
        except ScramException:
            return False
        final = server.get_server_final()
        if b"LIES" in self.tls_extensions:
            final = "v=" + base64.b64encode(bytes(32)).decode()
        await ask(final.encode())
        return True


@asynccontextmanager
async def listening(
    server: PeerServer, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[PeerServer]:
    """The server, while it runs on a loopback port."""
    context = server.context if server.is_implicit else None
    listener = await asyncio.start_server(server.serve, host, port, ssl=context)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in list(server._tasks):
            task.cancel()
        await asyncio.gather(*server._tasks, return_exceptions=True)
