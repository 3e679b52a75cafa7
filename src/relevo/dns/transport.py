"""One question to one server, over UDP or TCP (RFC 1035 §4.2, RFC 7766); the room's only sockets.

Each question has a socket of its own, connected to the server: the kernel gives it a random port
and drops what comes from elsewhere (RFC 5452 §9.2). Callers set the deadline; whatever happens, the
socket is closed on return.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import TypeVar

from relevo.dns.servers import NameServer

T = TypeVar("T")
MAX_JUNK = 32
"""Datagrams that are not the answer, after which a question is given up: somebody is guessing."""

_LENGTH = struct.Struct("!H")


class ServerUnreachable(Exception):
    """The server did not answer, and waiting longer is of no use; the text says why."""


async def ask_over_udp(server: NameServer, wire: bytes, read: Callable[[bytes], T | None]) -> T:
    """Send `wire` and return what `read` makes of the first datagram for which it is not None.

    Raises ServerUnreachable.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()
    # connected here: when a loop does it and it fails, uvloop leaves the socket to the collector
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        sock.connect((server.host, server.port))
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(read, result), sock=sock
        )
    except OSError as error:
        sock.close()
        raise ServerUnreachable(_reason(error)) from error
    except asyncio.CancelledError:
        sock.close()
        raise
    try:
        transport.sendto(wire)
        return await result
    finally:
        transport.abort()


async def ask_over_tcp(server: NameServer, wire: bytes, read: Callable[[bytes], T | None]) -> T:
    """The same over a connection of its own. Raises ServerUnreachable."""
    try:
        reader, writer = await asyncio.open_connection(server.host, server.port)
    except OSError as error:
        raise ServerUnreachable(_reason(error)) from error
    try:
        writer.write(_LENGTH.pack(len(wire)) + wire)
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        result = read(await reader.readexactly(length))
    except asyncio.IncompleteReadError as error:
        raise ServerUnreachable("the connection ended within the answer") from error
    except OSError as error:
        raise ServerUnreachable(_reason(error)) from error
    finally:
        writer.transport.abort()
    if result is None:
        raise ServerUnreachable("the answer was to another question")
    return result


class _Datagrams(asyncio.DatagramProtocol):
    """Gives each datagram to `read` until one is the answer."""

    def __init__(self, read: Callable[[bytes], T | None], result: asyncio.Future[T]) -> None:
        self._read = read
        self._result = result
        self._junk = 0

    def datagram_received(self, data: bytes, _addr: object) -> None:
        if self._result.done():
            return
        found = self._read(data)
        if found is not None:
            self._result.set_result(found)
            return
        self._junk += 1
        if self._junk >= MAX_JUNK:
            self._fail(ServerUnreachable(f"{MAX_JUNK} answers to other questions"))

    def error_received(self, exc: Exception) -> None:
        self._fail(ServerUnreachable(_reason(exc)))

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(ServerUnreachable(_reason(exc) if exc else "the socket was closed"))

    def _fail(self, error: ServerUnreachable) -> None:
        if not self._result.done():
            self._result.set_exception(error)


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else "") or type(error).__name__
