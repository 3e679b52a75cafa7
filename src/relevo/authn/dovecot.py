"""Dovecot as a second source of users (`auth.dovecot`): who exists, and who proves it.

Existence is asked again and again for the same names, so answers are kept for a short time and a
question that is being asked is not asked twice at the same time; with a bound on connections, a
flood of RCPT is no storm of connections. Passwords are asked each time: nothing of them is kept.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from relevo.answer_cache import AnswerCache
from relevo.authn.dovecot_dialogue import DovecotFailed, is_known, is_proved
from relevo.config.dovecot_sockets import client_socket, userdb_socket
from relevo.directory import UnknownNow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from relevo.config.reception_model import Auth
    from relevo.mail.address import Address

KEPT_S = 10.0
KEPT_ANSWERS = 4096
MAX_CONNECTIONS = 16  # a worker
SLOT_TIMEOUT_S = 5.0


class Dovecot:
    """Asks Dovecot's authentication server; a `UserSource` of the directory."""

    def __init__(self, auth: Auth, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._auth = auth
        self._clock = clock
        self._known: AnswerCache[bool] = AnswerCache(KEPT_ANSWERS, lambda _: KEPT_S)
        self._slots = asyncio.Semaphore(MAX_CONNECTIONS)

    async def knows(self, address: Address) -> bool | UnknownNow:
        """Whether Dovecot has this user. Never raises."""
        try:
            return await self._known.get(address, self._clock(), lambda: self._ask_known(address))
        except DovecotFailed as error:
            return UnknownNow(f"Dovecot: {error}")

    async def proves(self, identity: Address, password: bytes) -> bool:
        """Whether the password is this user's. Raises DovecotFailed."""
        path = client_socket(self._auth)
        if path is None:
            raise DovecotFailed("there is no client socket; set auth.dovecot_client_path")
        async with self._slot():
            return await is_proved(path, identity.plain, password)

    async def _ask_known(self, address: Address) -> bool:
        path = userdb_socket(self._auth)
        if path is None:
            raise DovecotFailed("there is no userdb socket; set auth.dovecot_userdb_path")
        async with self._slot():
            return await is_known(path, address.plain)

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(SLOT_TIMEOUT_S):
                await self._slots.acquire()
        except TimeoutError as error:
            raise DovecotFailed(f"{MAX_CONNECTIONS} questions are waiting already") from error
        try:
            yield
        finally:
            self._slots.release()
