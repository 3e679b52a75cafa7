"""DNS: a stub resolver with cache, single flight and deadlines; look-ups give values, not policy.

DNSSEC is the word of a trusted resolver, or validated here.

Importing it opens nothing. Names are looked up as A-labels; every answer is checked to be the
answer to its question. Look-ups have three outcomes: found, absent (both an Answer), and DnsFailed.
"""

from relevo.dns.answers import (
    Answer,
    DnsFailed,
    DnsLookups,
    MailExchange,
    Outcome,
    SecureLookups,
    TlsaRecord,
)
from relevo.dns.names import BadName, ask_name
from relevo.dns.resolver import Resolver
from relevo.dns.servers import BadServer, NameServer, parse_server, system_servers
from relevo.dns.trust_anchor import BadAnchor, read_anchors

__all__ = [
    "Answer",
    "BadAnchor",
    "BadName",
    "BadServer",
    "DnsFailed",
    "DnsLookups",
    "MailExchange",
    "NameServer",
    "Outcome",
    "Resolver",
    "SecureLookups",
    "TlsaRecord",
    "ask_name",
    "parse_server",
    "read_anchors",
    "system_servers",
]
