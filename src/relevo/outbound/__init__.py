"""Mail to other servers: whom to connect to, with which TLS, how often, and what came of it.

Stands above `delivery`, whose dispatcher hands units over, and below `reception`. `peer` opens a
connection that is protected as `tls_policy` wants it; what MTA-STS, DANE and the levels of former
connections demand of a host is one value, `HostTls`.
"""

from relevo.outbound.assembly import (
    RemoteAgents,
    RemoteSurroundings,
    call_forward_of,
    listening_at,
)
from relevo.outbound.dmarc_reporting import DmarcReporting
from relevo.outbound.ownership import Ownership, owners_of_each
from relevo.outbound.protection import Protection, ProtectionSurroundings
from relevo.outbound.tls_contexts import TlsContexts

__all__ = [
    "DmarcReporting",
    "Ownership",
    "Protection",
    "ProtectionSurroundings",
    "RemoteAgents",
    "RemoteSurroundings",
    "TlsContexts",
    "call_forward_of",
    "listening_at",
    "owners_of_each",
]
