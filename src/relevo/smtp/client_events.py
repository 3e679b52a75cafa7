"""What a client session is told to send, and what it tells its shell.

All values are frozen. Nothing that a server says is an exception: a refusal is a reply, everything
else that goes wrong on the wire is a `Failed` with its kind, after which the session is closing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass as strict_dataclass
from dataclasses import field
from enum import Enum

from relevo.smtp.events import (
    NO_MAIL_PARAMETERS,
    NO_RCPT_PARAMETERS,
    MailParameters,
    Path,
    RcptParameters,
)
from relevo.value import dataclass


@strict_dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """How we present ourselves, and which extensions are used when offered."""

    hello_name: str
    is_lmtp: bool = False
    uses_pipelining: bool = True
    uses_chunking: bool = False  # BDAT instead of DATA; needs PIPELINING too


class Step(Enum):
    """What a reply answers. The shell has a deadline for each (RFC 5321 §4.5.3.2)."""

    GREETING = "greeting"
    HELLO = "hello"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    CHUNK = "chunk"
    END = "end"
    RSET = "rset"
    QUIT = "quit"


class FailureKind(Enum):
    """Why a session cannot go on."""

    CLOSED = "closed"  # end of file, or 421 between transactions
    MALFORMED_REPLY = "malformed reply"
    REPLY_TOO_LONG = "reply too long"
    UNEXPECTED_REPLY = "unexpected reply"
    OCTETS_BEFORE_TLS = "octets before TLS"  # clear text behind the 220 to STARTTLS


@dataclass(frozen=True, slots=True)
class ServerReply:
    """One reply. `enhanced` is "" when there is none or its class contradicts the code."""

    code: int
    enhanced: str
    lines: tuple[str, ...]  # without codes and control characters

    @property
    def text(self) -> str:
        return " ".join(line for line in self.lines if line)

    @property
    def is_positive(self) -> bool:
        return self.code < 300

    @property
    def is_temporary(self) -> bool:
        return 400 <= self.code < 500


@dataclass(frozen=True, slots=True)
class OutgoingRecipient:
    """One RCPT."""

    path: Path
    parameters: RcptParameters = NO_RCPT_PARAMETERS


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One transaction. `body` is CRLF lines without dot-stuffing, cut anywhere, read once."""

    reverse_path: Path
    recipients: tuple[OutgoingRecipient, ...]
    body: Iterable[bytes] = field(repr=False)
    parameters: MailParameters = NO_MAIL_PARAMETERS


@dataclass(frozen=True, slots=True)
class RecipientResult:
    """The reply that decided on a recipient, and the step it answered."""

    step: Step
    reply: ServerReply

    @property
    def is_accepted(self) -> bool:
        return self.step is Step.END and self.reply.is_positive


@dataclass(frozen=True, slots=True)
class Greeted:
    """The server sent its greeting: say `hello()`."""

    reply: ServerReply


@dataclass(frozen=True, slots=True)
class HelloAccepted:
    """`extensions` of the session are filled (empty after HELO)."""

    reply: ServerReply


@dataclass(frozen=True, slots=True)
class TlsReady:
    """220 to STARTTLS: do the handshake, call `tls_started()`, say `hello()` again."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """334: answer with `auth_respond()` or `auth_cancel()`."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Authenticated:
    reply: ServerReply


@dataclass(frozen=True, slots=True)
class Refused:
    """A step outside of a transaction was refused; what to do now is the shell's choice."""

    step: Step
    reply: ServerReply


@dataclass(frozen=True, slots=True)
class Sent:
    """A transaction is over. One result a recipient, in their order."""

    results: tuple[RecipientResult, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """The session is lost: close. `results`: of an open transaction, None where undecided."""

    kind: FailureKind
    text: str
    results: tuple[RecipientResult | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """The server answered QUIT: close."""


ClientEvent = (
    Greeted
    | HelloAccepted
    | TlsReady
    | Challenge
    | Authenticated
    | Refused
    | Sent
    | Failed
    | Finished
)
