"""What SPF says about a client and an identity (RFC 7208 §2.6)."""

from __future__ import annotations

from enum import Enum

from relevo.value import dataclass


class SpfOutcome(Enum):
    """The values are the words of Received-SPF and Authentication-Results."""

    PASS = "pass"  # noqa: S105 -- a result, no password
    FAIL = "fail"
    SOFTFAIL = "softfail"
    NEUTRAL = "neutral"
    NONE = "none"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


class SpfIdentity(Enum):
    """Whose domain was checked; the values are the words of RFC 7208 §9.1."""

    MAIL_FROM = "mailfrom"
    HELO = "helo"


@dataclass(frozen=True, slots=True)
class SpfResult:
    """The outcome of one check.

    `reason` is printable ASCII of at most 200 characters, fit to be shown to anyone, though part of
    it may be the record's words. `domain` is the checked one, with A-labels where it has a form in
    DNS. `explanation` is what the domain wants a refused client to read; "" when it says nothing
    or was not asked.
    """

    outcome: SpfOutcome
    reason: str
    identity: SpfIdentity
    domain: str
    explanation: str = ""
