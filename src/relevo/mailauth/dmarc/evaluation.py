"""Evaluating DMARC: do SPF or DKIM vouch for the author's domain? (RFC 9989 §4.4, §5.3)

Three things are asked of DNS, and each only when it decides: the policy of the author's domain, to
what domains belong (when a domain that passed is not the author's own, but could be of the same
owner), and whether the author's domain exists (when the policy has np=). The policy can be looked
up while others verify signatures. Nothing raises; where DNS cannot say, the result is temperror.
"""

from __future__ import annotations

from collections.abc import Sequence

from relevo.dns import DnsFailed, DnsLookups, Outcome
from relevo.dns.at_once import within
from relevo.mailauth.dkim import DkimResult
from relevo.mailauth.dmarc.public_suffixes import PublicSuffixes, walk_of
from relevo.mailauth.dmarc.record import DmarcRecord, Policy
from relevo.mailauth.dmarc.result import DmarcOutcome, DmarcResult
from relevo.mailauth.dmarc.walk import TreeWalk, WalkFailed
from relevo.mailauth.spf import SpfOutcome, SpfResult
from relevo.value import dataclass

TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class FoundPolicy:
    """The policy for an author's domain. No record: there is none, or (`problem`) DNS failed."""

    walk: TreeWalk
    domain: str = ""
    record: DmarcRecord | None = None
    problem: str = ""


async def find_policy(
    author_domain: str,
    lookups: DnsLookups,
    *,
    timeout_s: float = TIMEOUT_S,
    suffixes: PublicSuffixes | None = None,
) -> FoundPolicy:
    """Look up whose policy applies; `author_domain` in lower case with A-labels.

    `suffixes`: what domains belong to is told by a list instead of by DNS, here and in `evaluate`.
    """
    walk = walk_of(author_domain, lookups, suffixes)
    try:
        return await within(timeout_s, lambda: _found(walk))
    except WalkFailed as failure:
        return FoundPolicy(walk, problem=str(failure))
    except TimeoutError:
        return FoundPolicy(walk, problem=f"the policy was not found within {timeout_s:g} s")


async def _found(walk: TreeWalk) -> FoundPolicy:
    """Raises WalkFailed."""
    found = await walk.policy_record()
    return FoundPolicy(walk) if found is None else FoundPolicy(walk, *found)


async def evaluate(
    found: FoundPolicy,
    spf: SpfResult | None,
    dkim: Sequence[DkimResult],
    lookups: DnsLookups,
    *,
    timeout_s: float = TIMEOUT_S,
) -> DmarcResult:
    """What DMARC says. `spf` is the check of MAIL FROM, that of HELO for the null reverse-path."""
    author, record = found.walk.domain, found.record
    if found.problem:
        return DmarcResult(DmarcOutcome.TEMPERROR, author, found.problem)
    if record is None:
        return DmarcResult(DmarcOutcome.NONE, author, "no policy is published")
    if not record.is_usable:
        text = "the record has no valid policy"
        return DmarcResult(DmarcOutcome.PERMERROR, author, text, found.domain)
    try:
        return await within(timeout_s, lambda: _judged(found, record, spf, dkim, lookups))
    except WalkFailed as failure:
        problem = str(failure)
    except DnsFailed as failure:
        problem = f"DNS could not tell: {failure.question}"
    except TimeoutError:
        problem = f"it took longer than {timeout_s:g} s"
    return DmarcResult(DmarcOutcome.TEMPERROR, author, problem, found.domain, record=record)


async def _judged(
    found: FoundPolicy,
    record: DmarcRecord,
    spf: SpfResult | None,
    dkim: Sequence[DkimResult],
    lookups: DnsLookups,
) -> DmarcResult:
    author = found.walk.domain
    alignment = Alignment(found.walk)
    spf_domain = ""
    if spf is not None and spf.outcome is SpfOutcome.PASS:
        passed = spf.domain.lower().removesuffix(".")
        if await alignment.holds(passed, is_strict=record.is_strict_spf):
            spf_domain = passed
    signers = dict.fromkeys(one.domain for one in dkim if one.is_pass and one.domain)
    dkim_domains = [
        domain
        for domain in signers
        if await alignment.holds(domain, is_strict=record.is_strict_dkim)
    ]
    is_pass = bool(spf_domain or dkim_domains)
    if alignment.failed and not is_pass:
        raise WalkFailed(alignment.failed)
    is_own = found.domain == author
    exists = is_own or record.np is None or await _exists(author, lookups)
    policy, tag = record.policy_of(is_own=is_own, exists=exists)
    asked = policy.lower if record.is_testing else policy
    return DmarcResult(
        DmarcOutcome.PASS if is_pass else DmarcOutcome.FAIL,
        author,
        "",
        found.domain,
        policy,
        tag,
        Policy.NONE if is_pass else asked,
        spf_domain,
        tuple(dkim_domains),
        record,
    )


async def _exists(domain: str, lookups: DnsLookups) -> bool:
    """Whether the name is in DNS at all (RFC 9989 §3.2, RFC 8020). Raises DnsFailed."""
    return (await lookups.a(domain)).outcome is not Outcome.NO_SUCH_NAME


class Alignment:
    """Which domains are the author's, or of the same owner (§4.4).

    `failed`: DNS could not say it of this domain; it counts as not aligned.
    """

    def __init__(self, author: TreeWalk) -> None:
        self._author = author
        self.failed = ""

    async def holds(self, domain: str, *, is_strict: bool) -> bool:
        """Whether a domain that passed counts for the author's."""
        if domain == self._author.domain:
            return True
        # what a domain belongs to is itself or above it: those of different tops need no walk
        if is_strict or domain.rpartition(".")[2] != self._author.domain.rpartition(".")[2]:
            return False
        try:
            owner = await self._author.organizational_domain()
            if domain != owner and not domain.endswith("." + owner):
                return False
            return await self._author.of(domain).organizational_domain() == owner
        except WalkFailed as failure:
            self.failed = failure.domain
            return False
