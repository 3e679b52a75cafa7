"""The Sender Rewriting Scheme: reverse-paths of forwarded mail that lead bounces back.

Who forwards mail under its sender's own address breaks SPF. So the reverse-path becomes one of our
domain, in which the sender's stands, signed and dated:

    SRS0=HASH=DAY=domain=local@ours        of local@domain
    SRS1=HASH=domain==HASH=DAY=…@ours      of what another forwarder at `domain` made (SRS0 or SRS1)

The hash is an HMAC-SHA256 over what follows, so that nobody can use us to send to any address; it
and the day ignore case, since some servers change that of local parts. A day is counted modulo
1024; an address is good for `MAX_AGE_DAYS`. SRS1 carries no day of ours: the first forwarder's is
checked where it leads.

Pure functions; days since the epoch and the secret are arguments.
"""

from __future__ import annotations

import hmac
import re
from base64 import b32encode
from hashlib import sha256
from typing import TYPE_CHECKING

from relevo.mail.address import Address, InvalidAddress, domain_to_ascii, normalize_domain

if TYPE_CHECKING:
    from typing import Final

MAX_AGE_DAYS: Final = 21
MAX_LOCAL: Final = 64  # octets (RFC 5321 §4.5.3.1.1)

_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_DAYS = 1024
_HASH_LENGTH = 6  # of 5 bits each; short, so that few senders are too long for MAX_LOCAL
_SRS = re.compile(r"SRS([01])([=+-])(.*)", re.IGNORECASE | re.DOTALL)


class NotOurs(ValueError):
    """An address that looks like one of these but was not made by us, or too long ago."""


def is_srs(local: str) -> bool:
    """Does a local part look like one of this scheme?"""
    return _SRS.fullmatch(local) is not None


def forward(sender: Address, ours: str, *, secret: bytes, day: int) -> Address | None:
    """The reverse-path for mail of `sender` that is forwarded in the name of our domain.

    None: there is none that fits the limit for local parts, or the domain is none.
    """
    try:
        domain = domain_to_ascii(sender.domain)
    except InvalidAddress:
        return None
    found = _SRS.fullmatch(sender.local)
    if found is None:
        local = _signed("SRS0", f"{_stamp(day)}={domain}={sender.local}", secret)
    elif found[1] == "0":
        local = _signed("SRS1", f"{domain}={found[2]}{found[3]}", secret)
    else:  # the hop in between is left out: back it goes to the first forwarder
        _, equals, rest = found[3].partition("=")
        if not equals:
            return None
        local = _signed("SRS1", rest, secret)
    if len(local.encode()) > MAX_LOCAL:
        return None
    return Address(local, ours)


def back(local: str, *, secret: bytes, day: int) -> Address:
    """Where a bounce to this local part of ours goes. Raises NotOurs."""
    found = _SRS.fullmatch(local)
    given, equals, signed = ("", "", "") if found is None else found[3].partition("=")
    if found is None or not equals:
        raise NotOurs("not a forwarder's address")
    expected = _hash(f"SRS{found[1]}", signed, secret)
    if not hmac.compare_digest(given.upper().encode(), expected.encode()):
        raise NotOurs("the hash is wrong")
    try:
        if found[1] == "1":
            domain, _, rest = signed.partition("=")
            return Address(f"SRS0{rest}", normalize_domain(domain))
        stamp, _, rest = signed.partition("=")
        if (day - _day_of(stamp)) % _DAYS > MAX_AGE_DAYS:
            raise NotOurs("it has expired")
        domain, _, original = rest.partition("=")
        return Address(original, normalize_domain(domain))
    except InvalidAddress as error:
        raise NotOurs("there is no domain in it") from error


def _signed(tag: str, text: str, secret: bytes) -> str:
    return f"{tag}={_hash(tag, text, secret)}={text}"


def _hash(tag: str, text: str, secret: bytes) -> str:
    digest = hmac.digest(secret, f"{tag}={text}".lower().encode("utf-8", "replace"), sha256)
    return b32encode(digest).decode()[:_HASH_LENGTH]


def _stamp(day: int) -> str:
    high, low = divmod(day % _DAYS, len(_DIGITS))
    return _DIGITS[high] + _DIGITS[low]


def _day_of(stamp: str) -> int:
    digits = [_DIGITS.find(character) for character in stamp.upper()]
    return digits[0] * len(_DIGITS) + digits[1]
