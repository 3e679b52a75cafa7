"""The domain of a message's author, for choosing the key that signs it."""

from __future__ import annotations

import re

from relevo.mail import InvalidAddress, normalize_domain
from relevo.mail.header_block import field_values

_MOST = 4096  # octets of a From field that is read
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_COMMENT = re.compile(r"\((?:[^()\\]|\\.)*+\)", re.DOTALL)
_BRACKETED = re.compile(r"<([^<>]*+)>")
_MOST_NESTED = 5


def author_domain(head: bytes) -> str:
    """The one domain of the From field, normalized; "" where there is none, or not one.

    Only for our own users' mail: whether a stranger's From can be trusted takes more than this.
    """
    values = field_values(head, "From")
    if len(values) != 1 or len(values[0]) > _MOST:
        return ""
    text = _QUOTED.sub("q", values[0].decode("utf-8", "replace"))
    for _ in range(_MOST_NESTED):
        shorter = _COMMENT.sub(" ", text)
        if shorter == text:
            break
        text = shorter
    if "(" in text or ")" in text:
        return ""
    addresses = _BRACKETED.findall(text) or text.split(",")
    domains = set()
    for address in addresses:
        try:
            domains.add(normalize_domain(address.rpartition("@")[2].strip()))
        except InvalidAddress:
            return ""
    return domains.pop() if len(domains) == 1 else ""
