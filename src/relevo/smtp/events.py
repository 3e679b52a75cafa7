"""What a server session tells its shell, and the values parsed from commands.

All values are frozen. Addresses stay as the client sent them (decoded from UTF-8, a quoted
local part unquoted); normalization of domains and users belongs to `relevo.mail`, which stands
above this room.

Who answers: an event whose docstring says "answer it" waits for one call of
`ServerSession.reply` (or `proceed`, `challenge`); until then `next_event` returns None.
All other events are already answered by the session and only report.
"""

from __future__ import annotations

from dataclasses import field
from enum import Enum

from relevo.smtp.wishes import NO_WISHES, Wishes
from relevo.value import dataclass


class BodyType(Enum):
    """BODY= of MAIL (RFC 6152, RFC 3030)."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT_MIME = "8BITMIME"
    BINARY_MIME = "BINARYMIME"


class Ret(Enum):
    """RET= of MAIL (RFC 3461 §4.3)."""

    FULL = "FULL"
    HEADERS = "HDRS"


class Notify(Enum):
    """One keyword of NOTIFY= of RCPT (RFC 3461 §4.1)."""

    NEVER = "NEVER"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DELAY = "DELAY"


@dataclass(frozen=True, slots=True)
class Path:
    """A reverse-path or forward-path as sent (RFC 5321 §4.1.2).

    `local` is unquoted; `domain` is as sent: a hostname (ASCII or U-labels), an address literal
    with its brackets, or "" (the null reverse-path, and `<postmaster>`).
    """

    local: str
    domain: str

    @property
    def is_null(self) -> bool:
        return not self.local and not self.domain


@dataclass(frozen=True, slots=True)
class MailParameters:
    """Parsed parameters of MAIL."""

    size: int | None = None
    body: BodyType | None = None
    smtputf8: bool = False
    ret: Ret | None = None
    envid: str | None = None  # decoded xtext (RFC 3461 §4.4)
    auth: str | None = None  # decoded xtext; "<>" or a mailbox (RFC 4954 §5)
    requiretls: bool = False  # RFC 8689
    wishes: Wishes = NO_WISHES


@dataclass(frozen=True, slots=True)
class RcptParameters:
    """Parsed parameters of RCPT."""

    notify: frozenset[Notify] = frozenset()  # empty: not given
    orcpt: str | None = None  # "rfc822;addr", its address decoded (RFC 3461 §4.2)


NO_MAIL_PARAMETERS = MailParameters()
NO_RCPT_PARAMETERS = RcptParameters()


@dataclass(frozen=True, slots=True)
class Hello:
    """HELO, EHLO or LHLO with its first word, raw. Answer it; 250 lists the extensions.

    The transaction is over (RFC 5321 §4.1.4).
    """

    verb: str
    name: str


@dataclass(frozen=True, slots=True)
class Mail:
    """MAIL FROM. Answer it."""

    path: Path
    parameters: MailParameters


@dataclass(frozen=True, slots=True)
class Rcpt:
    """RCPT TO. Answer it."""

    path: Path
    parameters: RcptParameters


@dataclass(frozen=True, slots=True)
class BodyStart:
    """DATA or the first BDAT. Answer it: `proceed()`, or `reply()` with 4xx/5xx."""

    is_bdat: bool


@dataclass(frozen=True, slots=True)
class Chunk:
    """Octets of the message, un-stuffed, CRLF line ends. Never empty."""

    data: bytes


@dataclass(frozen=True, slots=True)
class MessageEnd:
    """The message is complete. Answer it; whatever the answer, the transaction is over."""

    wire_size: int  # octets counted against SIZE


@dataclass(frozen=True, slots=True)
class Reset:
    """RSET, or the message was refused on the way: drop the transaction and its buffers."""


@dataclass(frozen=True, slots=True)
class StartTls:
    """STARTTLS. Answer it: 220 → flush, do the handshake, call `tls_started()`."""


@dataclass(frozen=True, slots=True)
class XClient:
    """XCLIENT of a listed peer: whom it speaks for. Answer it; 220 greets that client anew.

    `address` is an IPv4 or IPv6 address; None, as with `port`: what was known stays.
    """

    address: str | None
    port: int | None


@dataclass(frozen=True, slots=True)
class Auth:
    """AUTH with its mechanism (upper case) and decoded initial response.

    Answer it: `challenge()`, or `reply()` 235 / 4xx / 5xx.
    """

    mechanism: str
    initial: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class AuthResponse:
    """The decoded answer to the last challenge. Answer it as `Auth`."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Quit:
    """QUIT: already answered 221; close after the output is flushed."""


@dataclass(frozen=True, slots=True)
class Violation:
    """The client did wrong; already answered.

    `verb` is safe to log: a known verb, or `unknown<"XXXXXX">`. `resets`: a transaction that was
    open is over, drop it. `closes`: close after the output is flushed.
    """

    verb: str
    code: int
    enhanced: str
    text: str
    resets: bool = False
    closes: bool = False


Event = (
    Hello
    | Mail
    | Rcpt
    | BodyStart
    | Chunk
    | MessageEnd
    | Reset
    | StartTls
    | XClient
    | Auth
    | AuthResponse
    | Quit
    | Violation
)
