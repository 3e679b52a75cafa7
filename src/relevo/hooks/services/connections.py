"""Connections to one service: made when needed, kept for a while, used by one call at a time.

A kept connection that the service closed before it said a word of the answer is replaced by a new
one, once; a service that does not answer a connection is tried again after a moment. Nothing is
repeated after the first octet of an answer.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, TypeVar

from relevo.hooks.services.connection import Connection
from relevo.hooks.services.failures import ServiceFailed

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

    from relevo.config.hook_target import ServiceAddress

IDLE_S: Final = 30.0
PAUSES_S: Final = (0.05, 0.25)  # before another try to connect
Result = TypeVar("Result")


class Connections:
    """Those of one worker with one service."""

    def __init__(
        self, address: ServiceAddress, *, most_kept: int, context: ssl.SSLContext | None = None
    ) -> None:
        self._address = address
        self._most_kept = most_kept
        self._context = context
        self._kept: dict[Connection, None] = {}  # the one used last stands last
        self._of_key: dict[object, list[Connection]] = {}  # the same ones, in the same order
        self._sweeper: asyncio.TimerHandle | None = None

    async def converse(
        self, exchange: Callable[[Connection], Awaitable[Result]], key: object = None
    ) -> Result:
        """Do `exchange` on a connection, a kept one only of the same `key`.

        Raises ServiceFailed, and what `exchange` raises.
        """
        while (kept := self._take_kept(key)) is not None:
            try:
                return await self._use(kept, exchange)
            except ServiceFailed:
                if kept.has_answered:
                    raise
        connection = await self._connect()
        connection.key = key
        return await self._use(connection, exchange)

    def close(self) -> None:
        """Those that nobody uses."""
        while self._kept:
            self._forget(next(iter(self._kept))).close()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    async def _use(
        self, connection: Connection, exchange: Callable[[Connection], Awaitable[Result]]
    ) -> Result:
        connection.has_answered = connection.may_be_kept = False
        try:
            result = await exchange(connection)
        except BaseException:
            connection.may_be_kept = False
            raise
        finally:
            self._put_away(connection)
        return result

    def _put_away(self, connection: Connection) -> None:
        if not (connection.may_be_kept and connection.is_quiet):
            connection.close()
            return
        connection.is_new = False
        connection.idle_since = time.monotonic()
        self._kept[connection] = None
        self._of_key.setdefault(connection.key, []).append(connection)
        if len(self._kept) > self._most_kept:
            self._forget(next(iter(self._kept))).close()
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(IDLE_S, self._sweep)

    def _sweep(self) -> None:
        self._sweeper = None
        oldest = time.monotonic() - IDLE_S
        for connection in [each for each in self._kept if each.idle_since <= oldest]:
            self._forget(connection).close()
        if self._kept:
            self._sweeper = asyncio.get_running_loop().call_later(IDLE_S, self._sweep)

    def _take_kept(self, key: object) -> Connection | None:
        while (of_key := self._of_key.get(key)) is not None:
            connection = self._forget(of_key[-1])
            if connection.is_quiet:
                return connection
            connection.close()
        return None

    def _forget(self, connection: Connection) -> Connection:
        """Keep it no longer."""
        del self._kept[connection]
        of_key = self._of_key[connection.key]
        of_key.remove(connection)
        if not of_key:
            del self._of_key[connection.key]
        return connection

    async def _connect(self) -> Connection:
        for pause in PAUSES_S:
            try:
                return await self._connect_once()
            except OSError:
                await asyncio.sleep(pause)
        try:
            return await self._connect_once()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ServiceFailed(f"no connection to {self._address}: {reason}") from error

    async def _connect_once(self) -> Connection:
        loop, address = asyncio.get_running_loop(), self._address
        if address.path:
            _, connection = await loop.create_unix_connection(Connection, address.path)
        else:
            name = address.host if self._context is not None else None
            _, connection = await loop.create_connection(
                Connection, address.host, address.port, ssl=self._context, server_hostname=name
            )
        return connection
