"""What is told of a judged message to its author's domain (RFC 9990 §3.1): a value that counts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from relevo.mailauth.dkim import DkimResult
from relevo.mailauth.dmarc.record import DmarcRecord, Policy
from relevo.mailauth.dmarc.result import DmarcOutcome, DmarcResult
from relevo.mailauth.spf import SpfResult

TREE_WALK = "treewalk"
SUFFIX_LIST = "psl"
MAX_SIGNATURES = 10  # of a message; the aligned ones come first
_REPORT_SUBJECT = b"\nsubject: report domain:"


class PublishedPolicy(NamedTuple):  # as its hash is made for every message
    """The record that applied, as far as reports tell it."""

    domain: str
    p: str
    sp: str
    np: str
    adkim: str
    aspf: str
    testing: str
    fo: str
    discovery: str = TREE_WALK  # how it was found, in the words of RFC 9990


class JudgedMessage(NamedTuple):
    """Messages that are alike in all of this are one row of a report."""

    policy: PublishedPolicy
    source_ip: str
    disposition: str  # "pass", "none", "quarantine", "reject"
    dkim: str  # "pass" or "fail", of what is aligned
    spf: str
    override: str  # why less was done than the domain asked for, "" for all of it
    header_from: str
    envelope_from: str  # a domain, "" for the null reverse-path
    spf_domain: str  # "": SPF was not asked
    spf_result: str
    signatures: tuple[tuple[str, str, str], ...]  # domain, selector, result


def judged_message(
    result: DmarcResult,
    handling: Policy,
    forwarder: str,
    *,
    source_ip: str,
    envelope_from: str,
    spf: SpfResult | None,
    dkim: Iterable[DkimResult],
    discovery: str = TREE_WALK,
) -> JudgedMessage | None:
    """The row that a message counts in; None: its domain wants no reports."""
    record = result.record
    if record is None or not record.reports_to:
        return None
    if result.outcome not in {DmarcOutcome.PASS, DmarcOutcome.FAIL}:
        return None
    signatures = [(one.domain, one.selector, one.outcome.value) for one in dkim if one.domain]
    signatures.sort(key=lambda one: one[0] not in result.dkim_domains)
    return JudgedMessage(
        _published(result.policy_domain, record, discovery),
        source_ip,
        "pass" if result.is_pass else handling.value,
        "pass" if result.dkim_domains else "fail",
        "pass" if result.spf_domain else "fail",
        _override(result, handling, forwarder),
        result.author_domain,
        envelope_from,
        spf.domain if spf is not None else "",
        spf.outcome.value if spf is not None else "",
        tuple(signatures[:MAX_SIGNATURES]),
    )


def is_report(head: bytes) -> bool:
    """Whether a message is such a report itself: reports about reports would never end."""
    return _REPORT_SUBJECT in b"\n" + head.lower()


def _published(domain: str, record: DmarcRecord, discovery: str) -> PublishedPolicy:
    return PublishedPolicy(
        domain,
        record.p.value if record.p is not None else "none",
        record.sp.value if record.sp is not None else "",
        record.np.value if record.np is not None else "",
        "s" if record.is_strict_dkim else "r",
        "s" if record.is_strict_spf else "r",
        "y" if record.is_testing else "n",
        record.failure_options,
        discovery,
    )


def _override(result: DmarcResult, handling: Policy, forwarder: str) -> str:
    """The words of RFC 9990 for it."""
    if forwarder:
        return "trusted_forwarder"
    if result.is_pass:
        return ""
    if handling is not result.disposition:
        return "local_policy"
    return "policy_test_mode" if result.disposition is not result.policy else ""
