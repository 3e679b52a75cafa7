"""A small HTTP/1.1 server for the pages: one request a connection, everything bounded.

At most MAX_CONNECTIONS are open; more are closed at once. A head has 8 KiB and REQUEST_PATIENCE,
an answer ANSWER_PATIENCE: a slow or hostile client costs a little memory for a short while.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from relevo.web.requests import MAX_HEAD, BadRequest, Response, parse_head, text_response

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from relevo.web.requests import Request

logger = logging.getLogger("relevo.web")

MAX_CONNECTIONS = 64
REQUEST_PATIENCE = 5.0  # seconds
ANSWER_PATIENCE = 30.0

_END = b"\r\n\r\n"


class HttpServer:
    """Serves `answer` on listening sockets."""

    def __init__(
        self,
        answer: Callable[[Request], Awaitable[Response]],
        *,
        request_patience: float = REQUEST_PATIENCE,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self._answer = answer
        self._request_patience = request_patience
        self._max_connections = max_connections
        self._open = 0
        self._servers: list[asyncio.Server] = []

    async def listen(self, listener: socket.socket) -> None:
        """Accept on one more socket."""
        if listener.family.name == "AF_UNIX":
            server = await asyncio.start_unix_server(self._serve, sock=listener, limit=MAX_HEAD)
        else:
            server = await asyncio.start_server(self._serve, sock=listener, limit=MAX_HEAD)
        self._servers.append(server)

    def close(self) -> None:
        """Accept nothing more."""
        for server in self._servers:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._open >= self._max_connections:
            writer.transport.abort()
            return
        self._open += 1
        try:
            await self._exchange(reader, writer)
        except (OSError, TimeoutError):
            pass  # the client is gone, or does not take its answer
        except Exception:
            logger.exception("unexpected error, connection ended")
        finally:
            self._open -= 1
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        response, with_body = await self._respond(reader)
        if response is None:
            return
        async with asyncio.timeout(ANSWER_PATIENCE):
            writer.write(response.encode(with_body=with_body))
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        if response.then is not None:
            response.then()

    async def _respond(self, reader: asyncio.StreamReader) -> tuple[Response | None, bool]:
        """The response and whether its body is sent; None: nobody asked."""
        try:
            async with asyncio.timeout(self._request_patience):
                request = parse_head(await reader.readuntil(_END))
                await reader.readexactly(request.body_length)
        except asyncio.LimitOverrunError:
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            return text_response(status, "the head is too large"), True
        except (asyncio.IncompleteReadError, ConnectionError):
            return None, False
        except TimeoutError:
            return text_response(HTTPStatus.REQUEST_TIMEOUT, "the request took too long"), True
        except BadRequest as refusal:
            return text_response(refusal.status, str(refusal)), True
        try:
            async with asyncio.timeout(ANSWER_PATIENCE):
                response = await self._answer(request)
        except Exception:
            logger.exception("%s %s failed", request.method, request.path)
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            return text_response(status, "this page failed; the log says why"), True
        return response, request.method != "HEAD"


async def serve_until(
    server: HttpServer, listeners: tuple[socket.socket, ...], stop: asyncio.Event
) -> None:
    """Serve on the sockets until the event is set."""
    for listener in listeners:
        await server.listen(listener)
    await stop.wait()
    with contextlib.suppress(OSError):
        server.close()
