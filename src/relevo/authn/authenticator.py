"""Who a client is: SASL over the `users` files, then over Dovecot (RFC 4422, RFC 4954).

Unknown user, unknown domain, denied user and wrong password look the same: same answer, same
work, same least time. Verification runs in threads, a bounded number at once; above it the answer
is `Unavailable`, for every user alike. Mechanisms are meant for TLS only; the session sees to it.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import time
from typing import TYPE_CHECKING

from relevo.authn.exchanges import Exchange, Pace, PasswordExchange, ScramExchange
from relevo.authn.sasl import LoginConversation, PlainConversation
from relevo.authn.verifications import Verifications

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from relevo.authn.dovecot import Dovecot
    from relevo.authn.scram_keys import ScramKeyStore
    from relevo.config.model import Config
    from relevo.directory import Directory

PLAIN, LOGIN = "PLAIN", "LOGIN"
SCRAM, SCRAM_PLUS = "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"

_MIN_SECRET = 16

_log = logging.getLogger("relevo.authn")


class Authenticator:
    """Starts exchanges; one for each process."""

    def __init__(
        self,
        *,
        config: Config,
        directory: Callable[[], Directory],
        secret: bytes,
        dovecot: Dovecot | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`secret` is this server's own, at least 16 octets, the same after a restart.

        `dovecot` is asked about passwords that the users files do not prove.
        """
        if len(secret) < _MIN_SECRET:
            raise ValueError(f"the secret must have at least {_MIN_SECRET} octets")
        self._enabled = _available(config.auth.mechanisms)
        self._directory = directory
        self._dovecot = dovecot
        self._verifications = Verifications(config.auth.max_pending)
        self._pace = Pace(config.auth.failure_delay.total_seconds(), clock, sleep)
        self._scram_keys: ScramKeyStore | None = None
        if SCRAM in self._enabled or SCRAM_PLUS in self._enabled:
            from relevo.authn.scram_keys import ScramKeyStore  # noqa: PLC0415 - optional package

            self._scram_keys = ScramKeyStore(secret)

    def mechanisms(self, *, has_channel_binding: bool) -> tuple[str, ...]:
        """What to offer on a TLS connection, in the configured order."""
        return tuple(name for name in self._enabled if name != SCRAM_PLUS or has_channel_binding)

    def start(self, mechanism: str, channel_binding: bytes | None) -> Exchange:
        """An exchange by a mechanism that was offered; any other is a ValueError.

        `channel_binding` is the connection's tls-unique data (RFC 5929) where SCRAM-SHA-256-PLUS
        was offered, else None.
        """
        if mechanism not in self.mechanisms(has_channel_binding=channel_binding is not None):
            raise ValueError(f"mechanism {mechanism!r} was not offered")
        if mechanism in {SCRAM, SCRAM_PLUS}:
            return self._start_scram(mechanism, channel_binding)
        conversation = PlainConversation if mechanism == PLAIN else LoginConversation
        return PasswordExchange(
            conversation(needs_domain=self._dovecot is None),
            directory=self._directory,
            verifications=self._verifications,
            pace=self._pace,
            scram_keys=self._scram_keys,
            dovecot=self._dovecot,
        )

    def close(self) -> None:
        """Let the threads end; no exchange may be used after."""
        self._verifications.close()

    def _start_scram(self, mechanism: str, channel_binding: bytes | None) -> Exchange:
        from relevo.authn.scram import ScramConversation  # noqa: PLC0415 - optional package

        assert self._scram_keys is not None
        # Where -PLUS was offered, a client that believes it was not is being deceived, and must be
        # refused (RFC 5802 §6): so the plain variant gets the binding too.
        conversation = ScramConversation(
            mechanism,
            channel_binding if SCRAM_PLUS in self._enabled else None,
            keys=self._scram_keys,
            directory=self._directory,
        )
        return ScramExchange(conversation, verifications=self._verifications, pace=self._pace)


def _available(wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Known mechanisms whose packages are installed; what is left out is logged."""
    names = tuple(dict.fromkeys(name.upper() for name in wanted))
    available = [name for name in names if name in {PLAIN, LOGIN}]
    if importlib.util.find_spec("scramp") is not None:
        available += [name for name in names if name in {SCRAM, SCRAM_PLUS}]
    for name in names:
        if name not in available:
            _log.error("auth.mechanisms: %s is not offered; %s", name, _reason(name))
    return tuple(name for name in names if name in available)


def _reason(name: str) -> str:
    if name in {SCRAM, SCRAM_PLUS}:
        return "install relevo[scram]"
    return "relevo does not know it"
