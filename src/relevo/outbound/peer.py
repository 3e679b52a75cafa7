"""Opens a connection to another mail server: TLS as demanded, logged in, ready for transactions.

One call is one host and one address; which hosts and addresses are tried, in which order, is the
caller's. With `Need.NONE` the best is taken that can be had: a verified certificate, else any, else
plain text, each on a new connection where a handshake failed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from relevo.delivery.peer_link import LinkFailed, PeerLink

if TYPE_CHECKING:
    from relevo.outbound.credentials import Credentials
    from relevo.outbound.host_tls import HostTls
    from relevo.outbound.tls_contexts import TlsContexts
    from relevo.smtp import ClientSettings


@dataclass(frozen=True, slots=True)
class Destination:
    """One address of one host.

    `name`: of the MX host or smarthost, for SNI and the check of its certificate. `address`: an IP
    address. `source`: the local address to connect from, "" for any.
    """

    name: str
    address: str
    port: int = 25
    source: str = ""

    def __str__(self) -> str:
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.name} ({address}:{self.port})"


class PeerStep(Enum):
    """Where a connection failed."""

    CONNECT = "connect"
    TLS = "tls"
    GREETING = "greeting"
    HELLO = "hello"
    AUTH = "auth"


class PeerUnusable(LinkFailed):
    """The peer cannot be used now. `str()` is public and complete.

    `code`, `enhanced` and `text` are the peer's reply where it gave one, else 0 and "". Only a
    refusal that the peer called permanent `is_permanent`: nothing that fails before is.
    `tls_result`: the result type of RFC 8460 §4.3 where TLS was the reason, else "".
    """

    def __init__(
        self,
        step: PeerStep,
        message: str,
        *,
        code: int = 0,
        enhanced: str = "",
        text: str = "",
        tls_result: str = "",
    ) -> None:
        super().__init__(message)
        self.step = step
        self.code = code
        self.enhanced = enhanced
        self.text = text
        self.tls_result = tls_result

    @property
    def is_permanent(self) -> bool:
        return self.code >= 500


async def open_peer(
    destination: Destination,
    tls: HostTls,
    settings: ClientSettings,
    contexts: TlsContexts,
    credentials: Credentials | None = None,
) -> PeerLink:
    """A link that is ready for `transact`; `link.tls` says how it is protected.

    Raises PeerUnusable. Credentials are sent over TLS or to a loopback address only.
    """
    raise NotImplementedError
