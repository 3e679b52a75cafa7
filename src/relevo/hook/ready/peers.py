"""One question to a server beside us, and its whole answer, within a time and a size.

The servers of ready-made hooks close the connection behind their answer, so an answer is what
comes until then.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress

_PIECE = 64 * 1024


class PeerFailed(Exception):
    """The server is not there, is too slow, or says too much; the text says which and where."""


async def ask(
    target: str,
    question: bytes,
    *,
    timeout_s: float,
    limit: int = 1024 * 1024,
    is_end_said: bool = False,
    tls: ssl.SSLContext | None = None,
) -> bytes:
    """What a server answers. `target`: `unix:/PATH` or `HOST:PORT`; `limit`: octets of the answer.

    `is_end_said`: our side of the connection is closed behind the question. Raises PeerFailed.
    """
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await _connect(target, tls)
            try:
                return await _exchange(reader, writer, question, limit, is_end_said)
            finally:
                writer.close()
                writer.transport.abort()
    except TimeoutError as error:
        raise PeerFailed(f"{target} has not answered within {timeout_s:g} s") from error
    except _TooMuch as error:
        raise PeerFailed(f"{target} answers with more than {limit} octets") from error
    except OSError as error:
        raise PeerFailed(f"{target}: {error.strerror or error}") from error


class _TooMuch(Exception):
    """The answer is over its limit."""


async def _connect(
    target: str, tls: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if target.startswith("unix:"):
        return await asyncio.open_unix_connection(target.removeprefix("unix:"))
    host, _, port = target.rpartition(":")
    if not host or not port.isdecimal():
        raise PeerFailed(f"{target!r} names no server: write unix:/PATH or HOST:PORT")
    host = host.strip("[]")
    return await asyncio.open_connection(
        host, int(port), ssl=tls, server_hostname=host if tls else None
    )


async def _exchange(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    question: bytes,
    limit: int,
    is_end_said: bool,
) -> bytes:
    # a server may answer, and close, before it has read everything
    with suppress(ConnectionError):
        writer.write(question)
        await writer.drain()
        if is_end_said:
            writer.write_eof()
    answer = bytearray()
    while piece := await reader.read(_PIECE):
        answer += piece
        if len(answer) > limit:
            raise _TooMuch
    return bytes(answer)
