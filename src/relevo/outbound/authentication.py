"""Logging in at a smarthost: the client's side of SASL exchanges (RFC 4954).

SCRAM-SHA-256 (RFC 7677) goes first where both sides have it: the password stays here, and the
server proves that it knows it. PLAIN (RFC 4616), LOGIN and OAUTHBEARER (RFC 7628) show the secret,
so `peer` begins none of them in clear but on loopback.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Protocol, assert_never

from relevo.outbound.credentials import Credentials, Mechanism

if TYPE_CHECKING:
    from relevo.delivery.link_values import AuthExchange

_HAS_SCRAM = importlib.util.find_spec("scramp") is not None


def choose_exchange(credentials: Credentials, offered: str) -> AuthExchange | None:
    """The exchange of the first mechanism that is offered (the parameter of AUTH), or None."""
    names = offered.upper().split()
    for mechanism in credentials.mechanisms:
        is_possible = _HAS_SCRAM or mechanism is not Mechanism.SCRAM_SHA_256
        if mechanism.value in names and is_possible:
            return _begin(mechanism, credentials)
    return None


def _begin(mechanism: Mechanism, credentials: Credentials) -> AuthExchange:
    match mechanism:
        case Mechanism.SCRAM_SHA_256:
            return ScramExchange(credentials)
        case Mechanism.PLAIN:
            return PlainExchange(credentials)
        case Mechanism.LOGIN:
            return LoginExchange(credentials)
        case Mechanism.OAUTHBEARER:
            return BearerExchange(credentials)
        case _:
            assert_never(mechanism)


class PlainExchange:
    """All in the first response."""

    mechanism = Mechanism.PLAIN.value
    is_satisfied = True

    def __init__(self, credentials: Credentials) -> None:
        self.initial: bytes | None = f"\0{credentials.user}\0{credentials.secret}".encode()
        self._repeats = [self.initial]

    def answer(self, _challenge: bytes) -> bytes | None:
        """A server that did not look at the first response gets it once more."""
        return self._repeats.pop() if self._repeats else None


class LoginExchange:
    """User and password, each asked for; the words of the questions mean nothing."""

    mechanism = Mechanism.LOGIN.value
    initial: bytes | None = None
    is_satisfied = True

    def __init__(self, credentials: Credentials) -> None:
        self._answers = [credentials.secret.encode(), credentials.user.encode()]

    def answer(self, _challenge: bytes) -> bytes | None:
        return self._answers.pop() if self._answers else None


class BearerExchange:
    """An access token in the first response; a challenge is the server's refusal of it."""

    mechanism = Mechanism.OAUTHBEARER.value
    is_satisfied = True

    def __init__(self, credentials: Credentials) -> None:
        name = credentials.user.replace("=", "=3D").replace(",", "=2C")
        text = f"n,a={name},\x01auth=Bearer {credentials.secret}\x01\x01"
        self.initial: bytes | None = text.encode()
        self._is_refused = False

    def answer(self, _challenge: bytes) -> bytes | None:
        """One octet, for which the server says its 535 (RFC 7628 §3.2.3)."""
        if self._is_refused:
            return None
        self._is_refused = True
        return b"\x01"


class _ScramClient(Protocol):
    """What is used of scramp's client."""

    def get_client_first(self) -> str: ...
    def set_server_first(self, message: str) -> None: ...
    def get_client_final(self) -> str: ...
    def set_server_final(self, message: str) -> None: ...


class ScramExchange:
    """First and final message, then the server's signature, which is checked."""

    mechanism = Mechanism.SCRAM_SHA_256.value

    def __init__(self, credentials: Credentials) -> None:
        from scramp import ScramClient  # noqa: PLC0415 - an optional dependency

        self._client: _ScramClient = ScramClient(
            [self.mechanism], credentials.user, credentials.secret
        )
        self.initial: bytes | None = self._client.get_client_first().encode()
        self._challenges = 0
        self.is_satisfied = False

    def answer(self, challenge: bytes) -> bytes | None:
        from scramp import ScramException  # noqa: PLC0415 - an optional dependency

        self._challenges += 1
        try:
            message = challenge.decode()
            if self._challenges == 1:
                self._client.set_server_first(message)
                return self._client.get_client_final().encode()
            if self._challenges == 2:
                self._client.set_server_final(message)
                self.is_satisfied = True
                return b""
        except (ScramException, ValueError):
            return None
        return None
