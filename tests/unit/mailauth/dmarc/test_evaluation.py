"""DMARC's verdict: alignment, policies, and what DNS that fails makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from relevo.mailauth import SpfIdentity, SpfOutcome, SpfResult
from relevo.mailauth.dkim import DkimOutcome, DkimResult
from relevo.mailauth.dmarc import DmarcOutcome, DmarcResult, Policy, evaluate, find_policy
from unit.mailauth.spf.zones import FAILS, HANGS, Zones

REJECT = "v=DMARC1; p=reject"


def spf(domain: str, outcome: SpfOutcome = SpfOutcome.PASS) -> SpfResult:
    return SpfResult(outcome, "", SpfIdentity.MAIL_FROM, domain)


def dkim(domain: str, outcome: DkimOutcome = DkimOutcome.PASS) -> DkimResult:
    return DkimResult(outcome, domain=domain)


def judged(
    author: str,
    records: Mapping[str, Sequence[str] | str],
    *signatures: DkimResult,
    sender: SpfResult | None = None,
    timeout_s: float = 10.0,
) -> DmarcResult:
    names = Zones({k if " " in k else f"TXT _dmarc.{k}": v for k, v in records.items()})

    async def run() -> DmarcResult:
        found = await find_policy(author, names, timeout_s=timeout_s)
        return await evaluate(found, sender, signatures, names, timeout_s=timeout_s)

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("author", "signer", "tags", "is_pass"),
    [
        ("a.test", "a.test", "", True),
        ("m.a.test", "a.test", "", True),
        ("a.test", "m.a.test", "", True),
        ("m.a.test", "x.y.a.test", "", True),
        ("a.test", "m.a.test", "; adkim=s; aspf=s", False),
        ("a.test", "a.test", "; adkim=s; aspf=s", True),
        ("a.test", "b.test", "", False),
        ("a.test", "ba.test", "", False),
        ("a.test", "test", "", False),
    ],
)
def test_alignment_of_dkim_and_spf(author: str, signer: str, tags: str, is_pass: bool) -> None:
    records = {"a.test": [REJECT + tags]}
    by_dkim = judged(author, records, dkim(signer))
    by_spf = judged(author, records, sender=spf(signer))
    assert by_dkim.is_pass is by_spf.is_pass is is_pass
    assert by_dkim.dkim_domains == ((signer,) if is_pass else ())
    assert by_spf.spf_domain == (signer if is_pass else "")
    assert by_dkim.disposition is (Policy.NONE if is_pass else Policy.REJECT)


@pytest.mark.parametrize("outcome", [each for each in SpfOutcome if each is not SpfOutcome.PASS])
def test_only_a_pass_of_spf_counts(outcome: SpfOutcome) -> None:
    found = judged("a.test", {"a.test": [REJECT]}, sender=spf("a.test", outcome))
    assert found.outcome is DmarcOutcome.FAIL


@pytest.mark.parametrize("outcome", [each for each in DkimOutcome if each is not DkimOutcome.PASS])
def test_only_a_pass_of_dkim_counts(outcome: DkimOutcome) -> None:
    found = judged("a.test", {"a.test": [REJECT]}, dkim("a.test", outcome))
    assert found.outcome is DmarcOutcome.FAIL


def test_any_signature_will_do() -> None:
    signatures = [dkim("far.test"), dkim("a.test", DkimOutcome.FAIL), dkim("a.test")]
    assert judged("a.test", {"a.test": [REJECT]}, *signatures).dkim_domains == ("a.test",)


def test_domains_of_another_owner_below_a_suffix_are_not_aligned() -> None:
    records = {"co.test": ["v=DMARC1; psd=y; p=reject"]}
    assert not judged("one.co.test", records, dkim("two.co.test")).is_pass
    assert judged("m.one.co.test", records, dkim("one.co.test")).is_pass


def test_an_owner_below_another_is_separate() -> None:
    records = {"a.test": [REJECT], "lent.a.test": ["v=DMARC1; p=none; psd=n"]}
    assert not judged("a.test", records, dkim("lent.a.test")).is_pass
    assert not judged("lent.a.test", records, dkim("a.test")).is_pass


@pytest.mark.parametrize(
    ("author", "record", "exists", "policy", "tag"),
    [
        ("a.test", "p=reject; sp=none; np=none", False, Policy.REJECT, "p"),
        ("m.a.test", "p=reject; sp=none; np=quarantine", True, Policy.NONE, "sp"),
        ("m.a.test", "p=none; sp=none; np=reject", False, Policy.REJECT, "np"),
        ("m.a.test", "p=none; sp=quarantine", False, Policy.QUARANTINE, "sp"),
        ("m.a.test", "p=quarantine", True, Policy.QUARANTINE, "p"),
    ],
)
def test_policies_of_subdomains(
    author: str, record: str, exists: bool, policy: Policy, tag: str
) -> None:
    records: dict[str, Sequence[str]] = {"a.test": [f"v=DMARC1; {record}"]}
    if exists:
        records[f"A {author}"] = ["192.0.2.1"]
    found = judged(author, records)
    assert (found.outcome, found.policy, found.policy_tag) == (DmarcOutcome.FAIL, policy, tag)
    assert found.policy_domain == "a.test"


def test_who_tests_gets_one_level_less() -> None:
    found = judged("a.test", {"a.test": [REJECT + "; t=y"]})
    assert (found.policy, found.disposition) == (Policy.REJECT, Policy.QUARANTINE)


def test_no_policy() -> None:
    assert judged("a.test", {}, dkim("a.test")).outcome is DmarcOutcome.NONE


def test_a_record_without_a_valid_policy() -> None:
    assert judged("a.test", {"a.test": ["v=DMARC1; p=x"]}).outcome is DmarcOutcome.PERMERROR


@pytest.mark.parametrize("state", [FAILS, HANGS])
@pytest.mark.parametrize("name", ["m.a.test", "a.test", "test"])
def test_dns_that_fails_never_gives_a_pass(state: str, name: str) -> None:
    found = judged("m.a.test", {name: state}, dkim("m.a.test"), timeout_s=0.05)
    assert found.outcome is DmarcOutcome.TEMPERROR
    assert found.disposition is Policy.NONE


def test_dns_that_fails_matters_only_where_it_decides() -> None:
    records: dict[str, Sequence[str] | str] = {"a.test": [REJECT], "test": FAILS}
    assert judged("a.test", records, dkim("a.test")).is_pass
    assert judged("a.test", records, dkim("b.other")).outcome is DmarcOutcome.FAIL
    assert judged("a.test", records, dkim("m.a.test")).outcome is DmarcOutcome.TEMPERROR
    assert judged("a.test", records, dkim("m.a.test"), dkim("a.test")).is_pass


def test_whether_the_author_exists_may_be_unknown() -> None:
    records: dict[str, Sequence[str] | str] = {
        "a.test": ["v=DMARC1; p=none; np=reject"],
        "A m.a.test": FAILS,
    }
    assert judged("m.a.test", records).outcome is DmarcOutcome.TEMPERROR
