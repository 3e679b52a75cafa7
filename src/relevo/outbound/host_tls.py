"""What is demanded of TLS with one host.

The demand is put together from all that is known of a domain (`tls_policy`) before a connection is
made; `peer` meets it or refuses the connection. Values only. What a connection has in the end is
`TlsFacts` of `relevo.delivery.link_values`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relevo.dns import TlsaRecord


class Need(IntEnum):
    """The least that a connection must have, each more than the one before."""

    NONE = 0  # plain text will do; the best that can be had is used
    ENCRYPTED = 1  # TLS, whatever the certificate
    VERIFIED = 2  # a certificate of a known authority, for the host's name
    DANE = 3  # a certificate that the host's TLSA records name (RFC 7672)


@dataclass(frozen=True, slots=True)
class HostTls:
    """The demand on connections to one host.

    `why` says in words where it comes from, for logs and refusals. `tlsa` stands with Need.DANE:
    the records that can be used, at least one; `names` are the reference identifiers beside the
    host's own name for those of usage 2. `is_implicit`: TLS from the first octet, no STARTTLS.
    `is_offered`: False: no TLS at all, even when the peer offers it (only with Need.NONE).
    `server_name`: what is said to it by SNI, "": its own name (RFC 7672 §8.1).
    """

    need: Need = Need.NONE
    why: str = ""
    is_implicit: bool = False
    is_offered: bool = True
    names: tuple[str, ...] = ()
    tlsa: tuple[TlsaRecord, ...] = ()
    server_name: str = ""


ANY_TLS = HostTls()
