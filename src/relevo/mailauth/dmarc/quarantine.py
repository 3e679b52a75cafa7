"""The field that tells filters and mail programs to put a message aside."""

from __future__ import annotations

from relevo.mailauth.comments import comment
from relevo.mailauth.dmarc.result import DmarcResult

QUARANTINE_FIELD = "Relevo-Quarantine"


def quarantine_field(result: DmarcResult) -> bytes:
    """The field with its CRLF: what failed, and who wants it put aside."""
    why = comment(f"{result.policy_tag}={result.policy.value} of {result.policy_domain}")
    return f"{QUARANTINE_FIELD}: dmarc={result.outcome.value} {why}\r\n".encode()
