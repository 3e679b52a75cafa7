"""What is demanded of TLS with the hosts of a domain: levels seen, MTA-STS, DANE, REQUIRETLS.

DANE goes before MTA-STS (RFC 8461 §2); neither lowers what the other or the level demands. A level
is what connections to the domain had at their best, and only rises (chasquid's behaviour): TLS that
was there once is demanded from then on, and so is a certificate that could be verified.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relevo.delivery.link_values import TlsFacts
    from relevo.outbound.host_tls import HostTls
    from relevo.outbound.peer import PeerUnusable


@dataclass(frozen=True, slots=True)
class HostRefused:
    """This host must not be used now: try the next one. Always temporary.

    `why` is for the log and the sender; `tls_result` as in PeerUnusable.
    """

    why: str
    tls_result: str = ""


class DomainTls:
    """What is known of one domain, for one attempt at its hosts."""

    domain: str

    async def for_host(
        self,
        host: str,
        *,
        port: int = 25,
        is_address_secure: bool = False,
        requires_tls: bool = False,
    ) -> HostTls | HostRefused:
        """The demand on `host`. Never raises.

        `is_address_secure`: its A or AAAA answer was authenticated by DNSSEC. `requires_tls`: the
        message demands REQUIRETLS (RFC 8689); whether the peer offers that is to be seen in
        `link.extensions`.
        """
        raise NotImplementedError


class TlsPolicies:
    """All domains, for one worker."""

    async def for_domain(self, domain: str, *, is_mx_secure: bool = False) -> DomainTls:
        """What is known of `domain` (A-labels). Never raises; takes a minute at most.

        `is_mx_secure`: the MX answer (its absence too) was authenticated by DNSSEC.
        """
        raise NotImplementedError

    async def learned(self, domain: DomainTls, facts: TlsFacts) -> None:
        """A connection of this kind is about to be used; raises the level of the domain."""
        raise NotImplementedError

    def report(
        self,
        domain: DomainTls,
        host: str,
        address: str,
        outcome: TlsFacts | PeerUnusable | HostRefused,
    ) -> None:
        """Count the outcome of a connection for the reports of RFC 8460; cheap, never raises."""
        raise NotImplementedError
