"""Calls of a hook of the form http: one POST each, over connections that are kept."""

from __future__ import annotations

import asyncio
import os
import secrets
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING

from relevo.hooks.http.requests import INLINE, head, json_body, parts_body, sign
from relevo.hooks.http.responses import Response, read_response
from relevo.hooks.services.failures import ServiceFailed
from relevo.hooks.services.pool import ServicePool, piece_of, size_of
from relevo.hooks.wire import How, Report

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relevo.config import Config
    from relevo.config.hook_model import DeclaredHook
    from relevo.config.hook_target import ServiceAddress
    from relevo.hooks.http.requests import Body
    from relevo.hooks.services.connection import Connection

_OK, _NO_CONTENT = 200, 204
_PIECE = 256 * 1024
_MAX_SECRET = 4096


class HttpPool(ServicePool):
    """The calls of one worker to one URL."""

    def __init__(self, declared: DeclaredHook, config: Config, address: ServiceAddress) -> None:
        context = None
        if address.is_tls:
            context = ssl.create_default_context(cafile=declared.ca_file or None)
        super().__init__(declared, config, address, context)
        self._address = address
        self._secret_file = declared.secret_file
        self._secret = b""

    async def ask(self, message: int | bytes, context: bytes, max_output: int) -> Report:
        secret = self._known_secret()
        size = size_of(message)
        if size <= INLINE:
            body = json_body(context, await piece_of(message, 0, INLINE))
            part, whole = 0, len(body.before)
        else:
            body = parts_body(context, f"relevo-{secrets.token_hex(16)}")
            part, whole = size, len(body.before) + size + len(body.after)
        timestamp = int(time.time())
        signature = ""
        if secret:
            signature = await _signature(secret, timestamp, body, message)
        start = head(self._address, body, whole, timestamp, signature) + body.before

        async def exchange(connection: Connection) -> Response:
            connection.write(start)
            for offset in range(0, part, _PIECE):
                await connection.drain()
                connection.write(await piece_of(message, offset, _PIECE))
            connection.write(body.after)
            return await read_response(connection, max_output)

        response = await self.connections.converse(exchange)
        if response.status not in {_OK, _NO_CONTENT}:
            raise ServiceFailed(f"it answered with the status {response.status}")
        return Report(How.EXITED, output=response.body)

    def _known_secret(self) -> bytes:
        """Read at the first call, so that one that cannot be read is a failure that is seen."""
        if self._secret_file and not self._secret:
            try:
                with Path(self._secret_file).open("rb") as file:
                    self._secret = file.read(_MAX_SECRET).strip()
            except OSError as error:
                text = f"its secret_file cannot be read: {error.strerror}"
                raise ServiceFailed(text) from error
            if not self._secret:
                raise ServiceFailed("its secret_file is empty")
        return self._secret


async def _signature(secret: bytes, timestamp: int, body: Body, message: int | bytes) -> str:
    if not body.has_part:
        return sign(secret, timestamp, (body.before,))
    pieces = _pieces(body, message)
    return await asyncio.to_thread(sign, secret, timestamp, pieces)


def _pieces(body: Body, message: int | bytes) -> Iterator[bytes]:
    """The whole body; blocking."""
    yield body.before
    if isinstance(message, bytes):
        yield message
    else:
        offset = 0
        while piece := os.pread(message, _PIECE, offset):
            yield piece
            offset += len(piece)
    yield body.after
