"""DMARC records: which TXT record is one, and what it says (RFC 9989 §4.7, §4.8, §4.10).

Only `v=DMARC1` at the start makes a record. What follows is read leniently, as the RFC wants it:
a part that is no tag, a tag that is not known and a value that no tag has are passed over; the tags
of RFC 7489 that are gone (`pct`, `rf`, `ri`) are such. A tag that stands twice spoils the record
(RFC 6376 §3.2). Whatever the octets are, nothing raises, in time linear in their length.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from functools import lru_cache

from relevo.value import dataclass

MAX_RECORD = 8 * 1024
MAX_TAGS = 64
MAX_ADDRESSES = 10  # of rua= and of ruf=; what comes behind them is not read

_CACHED_RECORD = 1024
_BLANKS = b" \t"
_VERSION = re.compile(rb"v[ \t]*+=[ \t]*+DMARC1[ \t]*+(?:;|\Z)")
_TAG = re.compile(rb"([A-Za-z]++)[ \t]*+=[ \t]*+([\x20-\x7e]++)")
_MAILTO = re.compile(
    rb"mailto:([A-Za-z0-9!#$&'*+/=^_`{|}~.%-]{1,128}@[A-Za-z0-9.-]{1,253})(?:\?[^!]*)?(?:![0-9]+[kmgt]?)?",
    re.IGNORECASE,
)


class Policy(Enum):
    """What a domain wants done with mail that claims to be its own and is not."""

    NONE = "none"
    QUARANTINE = "quarantine"
    REJECT = "reject"

    @property
    def lower(self) -> Policy:
        """One level milder: what a domain that is testing (t=y) gets (§4.7)."""
        return Policy.QUARANTINE if self is Policy.REJECT else Policy.NONE


class Suffix(Enum):
    """psd=: whether names below it belong to others (§4.7)."""

    YES = "y"
    NO = "n"
    UNKNOWN = "u"


@dataclass(frozen=True, slots=True)
class DmarcRecord:
    """A record. A policy that is missing is None; `has_bad_policy`: one of them is no policy.

    `reports_to` has the addresses of rua= that mail can reach, `failures_to` those of ruf=.
    """

    p: Policy | None = None
    sp: Policy | None = None
    np: Policy | None = None
    has_bad_policy: bool = False
    is_strict_dkim: bool = False
    is_strict_spf: bool = False
    is_testing: bool = False
    suffix: Suffix = Suffix.UNKNOWN
    reports_to: tuple[str, ...] = ()
    failure_options: str = "0"
    failures_to: tuple[str, ...] = ()

    @property
    def is_usable(self) -> bool:
        """Whether a policy can be taken from it (§4.10.1): without one, rua= makes it p=none."""
        return bool(self.reports_to) or not (self.p is None or self.has_bad_policy)

    def policy_of(self, *, is_own: bool, exists: bool) -> tuple[Policy, str]:
        """The policy and its tag, for the record's own domain or one below it that may not exist.

        For a record that `is_usable`.
        """
        if self.p is None or self.has_bad_policy:
            return Policy.NONE, "p"
        if not is_own:
            if not exists and self.np is not None:
                return self.np, "np"
            if self.sp is not None:
                return self.sp, "sp"
        return self.p, "p"


def select_record(texts: Iterable[bytes]) -> DmarcRecord | None:
    """The one record among TXT records; None: there is none, or there are several (§4.10)."""
    found = [text for text in texts if _VERSION.match(text)]
    return parse_record(found[0]) if len(found) == 1 else None


def parse_record(octets: bytes) -> DmarcRecord | None:
    """The record of a text; None: it is none."""
    if len(octets) > MAX_RECORD:
        return None
    # long records are rare, and would make the cache's size that of their owners' choice
    return _parse_cached(octets) if len(octets) <= _CACHED_RECORD else _parse(octets)


def _parse(octets: bytes) -> DmarcRecord | None:
    start = _VERSION.match(octets)
    if start is None:
        return None
    tags: dict[str, str] = {}
    for part in octets[start.end() :].split(b";", MAX_TAGS)[:MAX_TAGS]:
        tag = _TAG.fullmatch(part.strip(_BLANKS))
        if tag is None:
            continue
        name = tag[1].decode("ascii").lower()
        if name in tags or name == "v":
            return None
        tags[name] = tag[2].decode("ascii").strip()
    policies = {name: _policy(tags[name]) for name in ("p", "sp", "np") if name in tags}
    suffix = tags.get("psd", "u").lower()
    return DmarcRecord(
        p=policies.get("p"),
        sp=policies.get("sp"),
        np=policies.get("np"),
        has_bad_policy=None in policies.values(),
        is_strict_dkim=tags.get("adkim", "r").lower() == "s",
        is_strict_spf=tags.get("aspf", "r").lower() == "s",
        is_testing=tags.get("t", "n").lower() == "y",
        suffix=Suffix(suffix) if suffix in {"y", "n"} else Suffix.UNKNOWN,
        reports_to=_addresses(tags.get("rua", "")),
        failure_options=tags.get("fo", "0")[:16],
        failures_to=_addresses(tags.get("ruf", "")),
    )


_parse_cached = lru_cache(maxsize=1024)(_parse)


def _policy(text: str) -> Policy | None:
    try:
        return Policy(text.lower())
    except ValueError:
        return None


def _addresses(text: str) -> tuple[str, ...]:
    """The addresses of mailto: URIs; a size behind them (RFC 7489) means nothing any more."""
    found = []
    for part in text.split(",", MAX_ADDRESSES)[:MAX_ADDRESSES]:
        uri = _MAILTO.fullmatch(part.strip().encode("ascii"))
        if uri is not None and b"%" not in uri[1]:
            found.append(uri[1].decode("ascii"))
    return tuple(dict.fromkeys(found))
