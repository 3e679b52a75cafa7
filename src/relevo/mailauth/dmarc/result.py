"""What DMARC says about a message (RFC 9989 §5, RFC 8601 §2.7)."""

from __future__ import annotations

from enum import Enum

from relevo.mailauth.dmarc.record import DmarcRecord, Policy
from relevo.value import dataclass


class DmarcOutcome(Enum):
    """The values are the words of Authentication-Results."""

    NONE = "none"  # there is no policy, or nobody claims to be the author
    PASS = "pass"  # noqa: S105 -- a result, no password
    FAIL = "fail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


@dataclass(frozen=True, slots=True)
class DmarcResult:
    """The outcome and what led to it.

    `reason` is printable ASCII, "" where the outcome says it all. `policy` is what the record wants
    of mail that fails, by its tag `policy_tag`; `disposition` is what it wants of this message,
    testing (t=y) taken into account. `spf_domain` and `dkim_domains` are those that passed and are
    aligned with the author.
    """

    outcome: DmarcOutcome
    author_domain: str = ""
    reason: str = ""
    policy_domain: str = ""
    policy: Policy = Policy.NONE
    policy_tag: str = ""
    disposition: Policy = Policy.NONE
    spf_domain: str = ""
    dkim_domains: tuple[str, ...] = ()
    record: DmarcRecord | None = None

    @property
    def is_pass(self) -> bool:
        return self.outcome is DmarcOutcome.PASS
