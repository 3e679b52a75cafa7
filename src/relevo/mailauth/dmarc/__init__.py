"""DMARC (RFC 9989): whether the author's domain stands behind a message, and what it wants if not.

Functions over values; look-ups are passed in.
"""

from relevo.mailauth.dmarc.author import Author, read_author
from relevo.mailauth.dmarc.evaluation import FoundPolicy, evaluate, find_policy
from relevo.mailauth.dmarc.forwarding import trusted_forwarder
from relevo.mailauth.dmarc.quarantine import QUARANTINE_FIELD, quarantine_field
from relevo.mailauth.dmarc.record import DmarcRecord, Policy, parse_record, select_record
from relevo.mailauth.dmarc.result import DmarcOutcome, DmarcResult

__all__ = [
    "QUARANTINE_FIELD",
    "Author",
    "DmarcOutcome",
    "DmarcRecord",
    "DmarcResult",
    "FoundPolicy",
    "Policy",
    "evaluate",
    "find_policy",
    "parse_record",
    "quarantine_field",
    "read_author",
    "select_record",
    "trusted_forwarder",
]
