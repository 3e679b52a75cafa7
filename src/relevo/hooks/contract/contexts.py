"""What a hook is told: one frozen value a stage.

Addresses are in plain form, the null reverse-path is `<>`. `tags` are those that hooks of earlier
stages gave: of this connection, of this transaction, and later of this message.
"""

from __future__ import annotations

import base64

from relevo.hooks.contract.stages import Stage
from relevo.value import dataclass


@dataclass(frozen=True, slots=True)
class Client:
    """The peer of the connection.

    A hello name that is not UTF-8 has U+FFFD for what is not, and its octets in `hello_name_b64`.
    """

    ip: str
    port: int
    hello_name: str  # "" before EHLO
    hello_name_b64: str = ""

    @classmethod
    def of(cls, address: str, hello_name: str) -> Client:
        """From `ip:port` or `[ip]:port` and a name decoded with surrogateescape."""
        ip, _, port = address.rpartition(":")
        octets = hello_name.encode("utf-8", "surrogateescape")
        shown = octets.decode("utf-8", "replace")
        encoded = "" if shown == hello_name else base64.b64encode(octets).decode()
        return cls(ip.strip("[]"), int(port or 0), shown, encoded)


@dataclass(frozen=True, slots=True)
class Tls:
    """The encryption of the connection."""

    version: str
    cipher: str


@dataclass(frozen=True, slots=True)
class Recipient:
    """Where a message will go, after alias expansion."""

    target: str  # an address, or the words of a pipe
    kind: str  # "mail", "pipe" or "via"
    original: str  # the forward-path it came from, as accepted


@dataclass(frozen=True, slots=True)
class DkimSignature:
    """A signature of the message. `result`: pass, fail, policy, temperror, permerror (RFC 8601)."""

    result: str
    domain: str  # "" where the signature does not tell
    selector: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectContext:
    """A client that was not greeted yet. `listener`: SMTP, submission or submission+TLS."""

    stage: str = Stage.CONNECT.value
    client: Client
    listener: str
    tls: Tls | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EhloContext:
    """The name that a client gives itself; nothing about it was checked."""

    stage: str = Stage.EHLO.value
    client: Client
    listener: str
    verb: str  # EHLO or HELO
    tls: Tls | None = None
    auth: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthContext:
    """A user whose password is right and who is not logged in yet."""

    stage: str = Stage.AUTH.value
    client: Client
    listener: str
    user: str  # user@domain
    tls: Tls | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MailContext:
    """The start of a transaction. `size` is what the client announced, 0 for nothing."""

    stage: str = Stage.MAIL.value
    client: Client
    listener: str
    tls: Tls | None = None
    auth: str = ""  # user@domain, "" without AUTH
    reverse_path: str
    spf_result: str = "none"
    is_from_local_domain: bool = False
    is_smtputf8: bool = False
    size: int = 0
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RcptContext:
    """A recipient that is accepted unless the hook refuses it.

    `forward_paths` are those accepted before it in this transaction.
    """

    stage: str = Stage.RCPT.value
    client: Client
    listener: str
    tls: Tls | None = None
    auth: str = ""
    reverse_path: str
    forward_path: str
    forward_paths: tuple[str, ...] = ()
    is_local: bool = False  # in a domain of ours
    spf_result: str = "none"
    is_from_local_domain: bool = False
    is_smtputf8: bool = False
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PostDataContext:
    """A message that is complete and not yet queued.

    `size` counts the octets of the message as it will be stored (CRLF line ends), our trace fields
    included.
    """

    stage: str = Stage.POST_DATA.value
    message_id: str
    attempt: int = 1
    client: Client
    tls: Tls | None = None
    auth: str = ""  # user@domain, "" without AUTH
    reverse_path: str
    forward_paths: tuple[str, ...]
    recipients: tuple[Recipient, ...] = ()
    spf_result: str = "none"
    signatures: tuple[DkimSignature, ...] = ()  # of mail from outside, from the top
    arc_result: str = "none"
    dmarc_result: str = "none"
    author_domain: str = ""  # of From, where DMARC was asked; A-labels
    is_from_local_domain: bool = False
    is_smtputf8: bool = False
    tags: tuple[str, ...] = ()
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasContext:
    """An address of ours that is looked up; for alias-resolve and alias-exists."""

    stage: str
    address: str


@dataclass(frozen=True, slots=True)
class TriedRecipient:
    """A recipient of an attempt; `status` and `detail` are of the last one, "" before the first."""

    target: str
    kind: str  # "mail", "pipe" or "via"
    original: str
    status: str = ""  # enhanced status code
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptContext:
    """Recipients of a message that share a route; at route, before-attempt and the outcomes.

    `recipients` are, before the attempt, all that are still to be served; after it, those with the
    outcome of the stage. `next_in` counts the seconds to the next attempt (deferred).
    """

    stage: str
    message_id: str
    reverse_path: str
    route: str  # `local`, `mx:DOMAIN`, `via:SERVER,SERVER`, `pipe`
    recipients: tuple[TriedRecipient, ...]
    attempts: int = 0  # those before this one
    age: float = 0.0  # seconds since the message was accepted
    auth: str = ""
    size: int = 0
    is_dsn: bool = False
    next_in: float = 0.0
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DsnContext:
    """A notification for the sender of a message that is ready to be queued."""

    stage: str = Stage.DSN.value
    message_id: str  # of the message that it is about
    dsn_id: str
    recipient: str  # who is told
    about: tuple[TriedRecipient, ...]
    auth: str = ""
    tags: tuple[str, ...] = ()


StageContext = (
    ConnectContext
    | EhloContext
    | AuthContext
    | MailContext
    | RcptContext
    | AttemptContext
    | DsnContext
)
"""Of the stages that are asked in one way, with an empty standard input."""
