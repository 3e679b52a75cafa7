"""Forwarders that may vouch for a message that they changed (RFC 8617 §7.2.1, RFC 9989 §5.4).

A list that changes a message breaks what DMARC needs, and says in its link of the chain what it
found before. Whoever trusts that server believes it.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from relevo.mailauth.arc import ArcResult

_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_COMMENT = re.compile(rb"\((?:[^()\\]|\\.)*+\)", re.DOTALL)
_DMARC = re.compile(rb";[ \t\r\n]*dmarc(?:[ \t\r\n]*/[ \t\r\n]*[0-9]+)?[ \t\r\n]*=[ \t\r\n]*(\w+)")
_MOST_NESTED = 5


def trusted_forwarder(chain: ArcResult, trusted: Collection[str]) -> str:
    """The trusted server that found DMARC passed, or "".

    Only a valid chain is looked at, from its newest link on, as long as the links are of trusted
    domains: behind one that is not, nobody knows what was changed.
    """
    if not trusted or not chain.is_pass:
        return ""
    for link in reversed(chain.links):
        if link.domain not in trusted:
            return ""
        if dmarc_passed(link.results):
            return link.domain
    return ""


def dmarc_passed(results: bytes) -> bool:
    """Whether the value of an Authentication-Results field says `dmarc=pass`, and nothing else."""
    text = _QUOTED.sub(b"q", results)
    for _ in range(_MOST_NESTED):
        shorter = _COMMENT.sub(b" ", text)
        if shorter == text:
            break
        text = shorter
    found = _DMARC.findall(text.lower())
    return bool(found) and all(word == b"pass" for word in found)
