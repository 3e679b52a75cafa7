"""SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, the server's side of one exchange (RFC 5802, RFC 7677).

An unknown user gets a challenge like any other and fails at the proof. An authorization identity
is refused. The signature of the server goes out as a challenge, which the client answers with
nothing, since SMTP's 235 carries no data (RFC 4954 §4).
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, assert_never

from scramp import ScramException, ScramMechanism

from relevo.authn.identity import InvalidIdentity, parse_identity
from relevo.authn.steps import Challenge, LoggedIn, Malformed, Step, WrongCredentials

if TYPE_CHECKING:
    from collections.abc import Callable

    from relevo.authn.scram_keys import ScramKeyStore
    from relevo.directory import Directory
    from relevo.mail.address import Address

CHANNEL_BINDING_TYPE = "tls-unique"
MAX_RESPONSE = 4096
"""Longest response, octets."""

_UNPROVED = frozenset({"invalid-proof", "channel-bindings-dont-match"})


class _Stage(Enum):
    FIRST = auto()
    PROOF = auto()
    SIGNED = auto()


class ScramConversation:
    """One exchange; `step` may block on a file, so call it in a thread."""

    def __init__(
        self,
        mechanism: str,
        channel_binding: bytes | None,
        *,
        keys: ScramKeyStore,
        directory: Callable[[], Directory],
    ) -> None:
        """`channel_binding` is tls-unique data (RFC 5929) where -PLUS is offered, else None."""
        self._server = ScramMechanism(mechanism).make_server(
            self._look_up,
            channel_binding=(CHANNEL_BINDING_TYPE, channel_binding) if channel_binding else None,
        )
        self._keys = keys
        self._directory = directory
        self.is_decided = False  # a proof was judged
        self._stage = _Stage.FIRST
        self._identity: Address | None = None
        self._bad_identity = ""

    def step(self, data: bytes | None) -> Step:
        """The answer to a response; None stands for a missing initial one."""
        if data is None:
            return Challenge(b"")
        if len(data) > MAX_RESPONSE:
            return Malformed(f"the response is longer than {MAX_RESPONSE} octets")
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return Malformed("the response is not UTF-8 text")
        match self._stage:
            case _Stage.FIRST:
                return self._first(text)
            case _Stage.PROOF:
                return self._proof(text)
            case _Stage.SIGNED:
                return self._end(text)
            case _:
                assert_never(self._stage)

    def _first(self, text: str) -> Step:
        try:
            self._server.set_client_first(text)
            challenge: str = self._server.get_server_first()
        except ScramException as error:
            return Malformed(self._bad_identity or _detail(error))
        self._stage = _Stage.PROOF
        return Challenge(challenge.encode())

    def _proof(self, text: str) -> Step:
        assert self._identity is not None
        try:
            self._server.set_client_final(text)
            signature: str = self._server.get_server_final()
        except ScramException as error:
            self.is_decided = True
            if error.server_error is not None and error.server_error.value in _UNPROVED:
                return WrongCredentials(self._identity.plain)
            return Malformed(_detail(error))
        self.is_decided = True
        self._stage = _Stage.SIGNED
        return Challenge(signature.encode())

    def _end(self, text: str) -> Step:
        assert self._identity is not None
        if text:
            return Malformed("the last response must be empty")
        return LoggedIn(self._identity.plain)

    def _look_up(self, user: str) -> tuple[bytes, bytes, bytes, int] | None:
        try:
            self._identity = parse_identity(user)
        except InvalidIdentity as error:
            self._bad_identity = str(error)
            return None
        keys = self._keys.find(self._directory(), self._identity) or self._keys.decoy(
            self._identity
        )
        return keys.salt, keys.stored_key, keys.server_key, keys.iterations


def _detail(error: ScramException) -> str:
    """A text for the client: the error code of RFC 5802 §7, in its own words."""
    code = "other-error" if error.server_error is None else error.server_error.value
    return f"SCRAM: {code}"
