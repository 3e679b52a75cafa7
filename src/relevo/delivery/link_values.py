"""What goes into a connection to a mail server, and what comes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from relevo.value import dataclass

if TYPE_CHECKING:
    from relevo.smtp.client_events import RecipientResult, ServerReply, Step


class LinkFailed(Exception):
    """No connection to use. The text is public: it names no path and no address."""


class StepRefused(LinkFailed):
    """The server answered, and said no."""

    def __init__(self, step: Step, reply: ServerReply) -> None:
        super().__init__(f"{step.value} refused: {reply.code} {reply.text}")
        self.step = step
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server is: a Unix socket's path, or host and port."""

    path: str = ""
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Transacted:
    """What came of a transaction.

    `results`: one a recipient, None where the server decided nothing before the link failed;
    `failure` says how it failed. `is_unheard`: the server sent nothing at all, so that it has
    taken nothing.
    """

    results: tuple[RecipientResult | None, ...]
    failure: str = ""
    is_unheard: bool = False


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """How a connection is protected; `version` is "" when it is not.

    `how` the peer's certificate was verified: "webpki", "dane", or "" when it proves nothing; then
    `problem` says why, and `tls_result` so in the terms of RFC 8460 §4.3.
    """

    version: str = ""  # as in trace fields: TLS-1.3
    cipher: str = ""
    how: str = ""
    is_resumed: bool = False
    problem: str = ""
    tls_result: str = ""

    @property
    def is_tls(self) -> bool:
        return bool(self.version)

    @property
    def is_verified(self) -> bool:
        return bool(self.how)


PLAIN = TlsFacts()


class AuthExchange(Protocol):
    """The client's side of a SASL exchange."""

    @property
    def mechanism(self) -> str:
        """As in AUTH."""

    @property
    def initial(self) -> bytes | None:
        """The initial response; None: the server has to begin."""

    @property
    def is_satisfied(self) -> bool:
        """Asked at 235: did the server prove what the mechanism makes it prove?"""

    def answer(self, challenge: bytes) -> bytes | None:
        """The answer to a challenge; None: give up."""
