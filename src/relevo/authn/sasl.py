"""The password mechanisms without I/O: PLAIN (RFC 4616) and LOGIN (draft-murchison-sasl-login).

A conversation takes the client's responses, None standing for a missing initial response, and
ends with a `Claim`, which somebody else verifies, or with `Malformed`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from relevo.authn.identity import InvalidIdentity, parse_identity
from relevo.authn.steps import Challenge, Malformed

if TYPE_CHECKING:
    from relevo.mail.address import Address

MAX_RESPONSE = 4096
"""Longest response of a password mechanism, octets."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Who the client says it is, and the password that shall prove it."""

    identity: Address
    password: bytes = field(repr=False)


class PlainConversation:
    """authzid NUL authcid NUL password, in one response."""

    def __init__(self, *, needs_domain: bool = True) -> None:
        self._needs_domain = needs_domain

    def step(self, data: bytes | None) -> Challenge | Claim | Malformed:
        if data is None:
            return Challenge(b"")
        if len(data) > MAX_RESPONSE:
            return Malformed(f"the response is longer than {MAX_RESPONSE} octets")
        parts = data.split(b"\0")
        if len(parts) != 3:
            return Malformed("the response must have three parts, separated by NUL")
        authzid, authcid, password = parts
        if authzid and authcid and authzid != authcid:
            return Malformed("logging in for another identity is not possible")
        identity = _identity(authzid or authcid, needs_domain=self._needs_domain)
        return identity if isinstance(identity, Malformed) else Claim(identity, password)


class LoginConversation:
    """Two questions: name, then password; an initial response is the name."""

    def __init__(self, *, needs_domain: bool = True) -> None:
        self._needs_domain = needs_domain
        self._identity: Address | None = None

    def step(self, data: bytes | None) -> Challenge | Claim | Malformed:
        if data is None:
            return Challenge(b"Username:")
        if len(data) > MAX_RESPONSE:
            return Malformed(f"the response is longer than {MAX_RESPONSE} octets")
        if self._identity is not None:
            return Claim(self._identity, data)
        identity = _identity(data, needs_domain=self._needs_domain)
        if isinstance(identity, Malformed):
            return identity
        self._identity = identity
        return Challenge(b"Password:")


def _identity(data: bytes, *, needs_domain: bool) -> Address | Malformed:
    try:
        return parse_identity(data.decode(), needs_domain=needs_domain)
    except UnicodeDecodeError:
        return Malformed("the identity is not UTF-8 text")
    except InvalidIdentity as error:
        return Malformed(str(error))
