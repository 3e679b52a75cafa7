"""What a SASL exchange answers to each thing the client sends (RFC 4422)."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Challenge:
    """Send this and wait for the response."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """The client is `user@domain`, normalized."""

    identity: str


@dataclass(frozen=True, slots=True)
class WrongCredentials:
    """Not proved, for whatever reason; `user` is what was claimed, for the log."""

    user: str


@dataclass(frozen=True, slots=True)
class Malformed:
    """No response that the mechanism allows; `detail` may be shown to the client."""

    detail: str


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Too much to do, or Dovecot gives no answer; the client may try again later."""


Step = Challenge | LoggedIn | WrongCredentials | Malformed | Unavailable
