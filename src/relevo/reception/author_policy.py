"""DMARC at reception: is the author who the message says, and what is done when not.

Mail of our own users and of clients in `spf.skip_networks` is not judged. The policy is looked up
while signatures are verified. What the author's domain asks for is done as far as `dmarc.action`
goes; a trusted server that vouches for the message by ARC stands above it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relevo.dns.at_once import both
from relevo.mail import domain_to_ascii
from relevo.mailauth.dmarc import (
    Author,
    DmarcOutcome,
    DmarcResult,
    Policy,
    evaluate,
    find_policy,
    read_author,
    trusted_forwarder,
)
from relevo.mailauth.dmarc.judged import SUFFIX_LIST, TREE_WALK, JudgedMessage, judged_message
from relevo.reception import answers
from relevo.reception.acceptance import MessageRefused
from relevo.reception.findings import Findings
from relevo.reception.quarantine import SetAside

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from relevo.config import Config
    from relevo.dns import DnsLookups
    from relevo.mailauth.dmarc.public_suffixes import PublicSuffixes
    from relevo.reception.transaction import Transaction

QUARANTINE_TAG = "quarantine"


def is_judged(transaction: Transaction, config: Config) -> bool:
    """Whether DMARC is asked: without SPF and DKIM it would find everything forged."""
    return (
        transaction.is_from_outside
        and config.dmarc.action != "none"
        and config.spf.check
        and config.dkim.verify
    )


def checked_author(head: bytes, config: Config) -> Author:
    """Who the message says wrote it. Raises MessageRefused where that cannot be told."""
    author = read_author(head)
    if author.problem and config.dmarc.bad_from == "refuse":
        raise MessageRefused(answers.AUTHOR_UNCLEAR.with_detail(author.problem))
    return author


async def judged(
    author: Author,
    transaction: Transaction,
    inspect: Callable[[], Coroutine[Any, Any, Findings]],
    config: Config,
    resolver: DnsLookups,
    suffixes: PublicSuffixes | None = None,
) -> Findings:
    """What `inspect` gives, with DMARC's result and what follows from it."""
    if author.problem:
        findings = await inspect()
        if author.is_missing:
            return findings
        result = DmarcResult(DmarcOutcome.PERMERROR, reason=author.problem)
        return findings.with_author(result)
    timeout_s = config.dmarc.timeout.total_seconds()
    policy, findings = await both(
        lambda: find_policy(author.domain, resolver, timeout_s=timeout_s, suffixes=suffixes),
        inspect,
    )
    result = await evaluate(
        policy, transaction.spf, findings.dkim or (), resolver, timeout_s=timeout_s
    )
    if result.disposition is Policy.NONE:
        return findings.with_author(result)
    forwarder = trusted_forwarder(findings.arc, config.arc.trusted)
    handling = Policy.NONE if forwarder else _handling(result.disposition, config.dmarc.action)
    return findings.with_author(result, forwarder, handling)


def act(findings: Findings, transaction: Transaction, config: Config) -> None:
    """Do what follows from the findings: nothing, a tag, quarantine, or a refusal.

    Raises MessageRefused.
    """
    result = findings.dmarc
    if result is None:
        return
    if result.outcome is DmarcOutcome.TEMPERROR and config.dmarc.on_temperror == "defer":
        raise MessageRefused(answers.AUTHOR_UNKNOWN_NOW, result.reason)
    if findings.handling is Policy.REJECT:
        text = f"the {result.policy_tag}={result.policy.value} of {result.policy_domain}"
        raise MessageRefused(answers.DMARC_FAILED.with_detail(text))
    if findings.handling is not Policy.QUARANTINE:
        return
    if QUARANTINE_TAG not in transaction.hook_tags:
        transaction.hook_tags = (*transaction.hook_tags, QUARANTINE_TAG)
    if config.dmarc.quarantine == "hold" and transaction.set_aside is None:
        reason = f"{result.policy_tag}={result.policy.value} of {result.policy_domain}"
        transaction.set_aside = SetAside("dmarc", "dmarc", reason)


def row_of(
    findings: Findings, transaction: Transaction, client_ip: str, *, is_by_list: bool = False
) -> JudgedMessage | None:
    """What a report tells of the message; None: nobody wants to know."""
    if findings.dmarc is None:
        return None
    return judged_message(
        findings.dmarc,
        findings.handling,
        findings.forwarder,
        source_ip=client_ip,
        envelope_from=domain_to_ascii(transaction.reverse_path.domain),
        spf=transaction.spf,
        dkim=findings.dkim or (),
        discovery=SUFFIX_LIST if is_by_list else TREE_WALK,
    )


def _handling(wanted: Policy, action: str) -> Policy:
    match action:
        case "reject":
            return wanted
        case "quarantine":
            return Policy.QUARANTINE
    return Policy.NONE
