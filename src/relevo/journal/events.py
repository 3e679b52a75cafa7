"""What happens to mail, as values.

One value serves three readers: the history in the store (`relevo trace`), the mail log (chasquid's
lines or JSON) and the terminal of `relevo demo`. Times are seconds since the epoch, UTC. Addresses
are in plain form (`Address.plain`; the null reverse-path is `<>`), unescaped: renderers escape.
"""

from __future__ import annotations

from enum import Enum

from relevo.value import dataclass


class Outcome(Enum):
    """How an attempt ended for a recipient."""

    DELIVERED = "delivered"
    TEMPORARY = "temporary"
    PERMANENT = "permanent"


@dataclass(frozen=True, slots=True)
class Listening:
    """A listener is open."""

    time: float
    address: str
    mode: str


@dataclass(frozen=True, slots=True)
class Authenticated:
    """A login was tried."""

    time: float
    client: str  # ip:port, [ip]:port
    user: str
    succeeded: bool


@dataclass(frozen=True, slots=True)
class Rejected:
    """A command or message was refused. Parts not known yet are None or empty."""

    time: float
    client: str
    reverse_path: str | None
    forward_paths: tuple[str, ...]
    code: int
    enhanced: str
    reason: str
    message_id: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A message was answered 250 (or is a DSN of ours: client "")."""

    time: float
    message_id: str
    client: str
    reverse_path: str
    forward_paths: tuple[str, ...]
    size: int
    protocol: str = ""  # ESMTPSA …
    auth: str = ""
    tls: str = ""  # "TLS-1.3 TLS_AES_128_GCM_SHA256"


@dataclass(frozen=True, slots=True)
class Attempted:
    """One recipient was tried."""

    time: float
    message_id: str
    reverse_path: str
    target: str  # final address, or the pipe's command
    original: str  # the forward-path it came from
    outcome: Outcome
    route: str  # "maildir", "mda", "pipe", "mx:example.org" …
    detail: str = ""  # the error, or what the next hop said
    seconds: float = 0.0
    peer: str = ""  # the server that decided: name, address and port
    tls: str = ""  # how the connection to it was protected: "TLS-1.3 CIPHER webpki"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A round is over and something is left to try again."""

    time: float
    message_id: str
    reverse_path: str
    next_in: float  # seconds


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing is left to do for the message."""

    time: float
    message_id: str
    reverse_path: str


@dataclass(frozen=True, slots=True)
class DsnSent:
    """A delivery status notification was queued for the message."""

    time: float
    message_id: str
    dsn_id: str
    recipient: str


@dataclass(frozen=True, slots=True)
class HookVerdict:
    """What a hook said about a message, and how it went."""

    time: float
    message_id: str
    stage: str  # "post-data" …
    hook: str  # "hooks/post-data", or the name of a declared one
    version: str  # first digits of the SHA-256 of its file
    verdict: str  # "accept", "reject" or "tempfail"
    change: str = ""  # what it changed, in words
    reason: str = ""  # its reply, or what is wrong with it
    stderr: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A message was accepted, and waits in quarantine until somebody decides."""

    time: float
    message_id: str
    stage: str  # "post-data", "rcpt", "dmarc" …
    by: str  # the hook, or another name for who decided
    reason: str


@dataclass(frozen=True, slots=True)
class Released:
    """A message came out of quarantine: what it became is in the queue."""

    time: float
    message_id: str
    targets: tuple[str, ...]  # final ones; none: a hook dropped it


@dataclass(frozen=True, slots=True)
class OperatorAction:
    """Somebody changed the queue by hand (retry, hold, release, drop)."""

    time: float
    message_id: str
    action: str


Event = (
    Listening
    | Authenticated
    | Rejected
    | Accepted
    | Attempted
    | Waiting
    | Done
    | DsnSent
    | HookVerdict
    | Quarantined
    | Released
    | OperatorAction
)
