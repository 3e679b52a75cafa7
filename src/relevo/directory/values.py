"""Answers of the directory, as values.

A look-up has three answers: found, absent, unknown now. An error is never read as "no such user"
(→ 250, 550, 451).
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from relevo.value import dataclass

if TYPE_CHECKING:
    from relevo.mail.address import Address


class Existence(Enum):
    """Does mail for an address go anywhere?"""

    FOUND = "found"
    ABSENT = "absent"
    INVALID = "invalid"  # a local part no user of ours can have (550 5.1.3)


@dataclass(frozen=True, slots=True)
class UnknownNow:
    """The look-up failed; ask again later. `reason` is for the log, never for the client."""

    reason: str


@dataclass(frozen=True, slots=True)
class MailTarget:
    """An address: local or remote, the router decides."""

    address: Address


@dataclass(frozen=True, slots=True)
class PipeTarget:
    """A command that gets the message on stdin."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ViaTarget:
    """An address reached through named servers, tried in order."""

    address: Address
    servers: tuple[str, ...]


Target = MailTarget | PipeTarget | ViaTarget


class ExpansionFailed(Exception):
    """Aliases of an address cannot be resolved now (loop, broken hook); → 451 for the message."""
