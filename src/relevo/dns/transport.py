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

_MOST_OCTETS = 65_535  # of a datagram
_LENGTH = struct.Struct("!H")


class ServerUnreachable(Exception):
    """The server did not answer, and waiting longer is of no use; the text says why."""


async def ask_over_udp(server: NameServer, wire: bytes, read: Callable[[bytes], T | None]) -> T:
    """Send `wire` and return what `read` makes of the first datagram for which it is not None.

    Raises ServerUnreachable.
    """
    loop = asyncio.get_running_loop()
    # No transport: one that is cancelled while uvloop makes it can be closed by nobody.
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        try:
            sock.connect((server.host, server.port))
            sock.send(wire)
            for _ in range(MAX_JUNK):
                found = read(await loop.sock_recv(sock, _MOST_OCTETS))
                if found is not None:
                    return found
        except OSError as error:
            raise ServerUnreachable(_reason(error)) from error
    raise ServerUnreachable(f"{MAX_JUNK} answers to other questions")


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


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else "") or type(error).__name__
