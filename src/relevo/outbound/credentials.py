"""What we log in with at a smarthost."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class Mechanism(Enum):
    """SASL mechanisms that we speak as a client, the ones preferred first."""

    SCRAM_SHA_256 = "SCRAM-SHA-256"
    PLAIN = "PLAIN"
    LOGIN = "LOGIN"
    OAUTHBEARER = "OAUTHBEARER"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and a secret: a password, or with OAUTHBEARER an access token.

    `mechanisms`: those that may be used, in this order; the first that the server offers is taken.
    """

    user: str
    secret: str = field(repr=False)
    mechanisms: tuple[Mechanism, ...] = (Mechanism.SCRAM_SHA_256, Mechanism.PLAIN, Mechanism.LOGIN)
