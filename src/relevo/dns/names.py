"""Domain names as they are asked for: A-labels, lower case, no trailing dot.

Labels may have any printable ASCII, as owners of zones write (`_spf`) and as SPF macros expand to;
nothing is an escape. Limits: RFC 1035 §2.3.4.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

import idna

MAX_NAME = 253  # octets as text
MAX_LABEL = 63


class BadName(ValueError):
    """Not a name that DNS can be asked for; the text says why."""


def ask_name(text: str) -> str:
    """The name in the form that is asked for and that caches use as key. Raises BadName."""
    # what long names come from is hostile; they are refused before they become keys
    if len(text) > MAX_NAME + 1:
        raise BadName(f"a name of {len(text)} characters")
    return _ask_name(text)


@lru_cache(maxsize=4096)
def _ask_name(text: str) -> str:
    name = text.removesuffix(".")
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError) as error:
            raise BadName(f"{text!r} has no form in ASCII") from error
    if not name:
        raise BadName("an empty name")
    if len(name) > MAX_NAME:
        raise BadName(f"a name of {len(name)} octets")
    if not name.isprintable():
        raise BadName(f"{text!r} has a control character")
    for label in name.split("."):
        if not label:
            raise BadName(f"{text!r} has an empty label")
        if len(label) > MAX_LABEL:
            raise BadName(f"{text!r} has a label longer than {MAX_LABEL} octets")
    return name.lower()


def reverse_name(address: IPv4Address | IPv6Address) -> str:
    """Where the PTR records of an address stand (RFC 1035 §3.5, RFC 3596 §2.5)."""
    return address.reverse_pointer
