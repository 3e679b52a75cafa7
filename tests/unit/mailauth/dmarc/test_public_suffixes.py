"""Owners by a list of public suffixes: its rules, and what changes in DMARC with it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from relevo.mailauth.dkim import DkimOutcome, DkimResult
from relevo.mailauth.dmarc import DmarcResult, evaluate, find_policy
from relevo.mailauth.dmarc.public_suffixes import BadSuffixList, PublicSuffixes, read_suffixes
from unit.reception.names import Names

LIST = """// a comment
test
co.test   and words behind it
*.wild.test
!own.wild.test
münchen.test
host.example
"""
SUFFIXES = PublicSuffixes(LIST)


@pytest.mark.parametrize(
    ("domain", "owner"),
    [
        ("a.test", "a.test"),
        ("b.a.test", "a.test"),
        ("co.test", "co.test"),
        ("a.co.test", "a.co.test"),
        ("c.b.a.co.test", "a.co.test"),
        ("test", "test"),
        ("x.wild.test", "x.wild.test"),
        ("b.a.x.wild.test", "a.x.wild.test"),
        ("own.wild.test", "own.wild.test"),
        ("a.own.wild.test", "own.wild.test"),
        ("a.b.xn--mnchen-3ya.test", "b.xn--mnchen-3ya.test"),
        ("c.b.unlisted", "b.unlisted"),
        ("b.a.host.example", "a.host.example"),
    ],
)
def test_a_domain_belongs_to_the_name_below_its_suffix(domain: str, owner: str) -> None:
    assert SUFFIXES.organizational_domain(domain) == owner


def judged(author: str, signer: str, records: dict[str, str], *, has_list: bool) -> DmarcResult:
    names = Names({f"_dmarc.{name}": f"v=DMARC1; {text}" for name, text in records.items()})
    suffixes = SUFFIXES if has_list else None

    async def run() -> DmarcResult:
        found = await find_policy(author, names, suffixes=suffixes)
        return await evaluate(found, None, [DkimResult(DkimOutcome.PASS, domain=signer)], names)

    return asyncio.run(run())


def test_a_list_parts_owners_that_the_walk_takes_for_one() -> None:
    records = {"co.test": "p=reject"}
    by_dns = judged("a.co.test", "b.co.test", records, has_list=False)
    by_list = judged("a.co.test", "b.co.test", records, has_list=True)
    assert (by_dns.is_pass, by_dns.policy_domain) == (True, "co.test")
    assert (by_list.outcome.value, by_list.policy_domain) == ("none", "")


def test_a_list_joins_names_that_have_records_of_their_own() -> None:
    records = {"m.a.test": "p=reject; psd=n"}
    assert not judged("m.a.test", "a.test", records, has_list=False).is_pass
    assert judged("m.a.test", "a.test", records, has_list=True).is_pass


def test_the_policy_is_that_of_the_owner() -> None:
    result = judged("x.y.a.test", "other.test", {"a.test": "p=none; sp=reject"}, has_list=True)
    assert (result.policy_domain, result.policy_tag, result.policy.value) == (
        "a.test",
        "sp",
        "reject",
    )
    assert (
        judged("x.y.a.test", "other.test", {"y.a.test": "p=reject"}, has_list=True).record is None
    )


def test_dns_that_fails_decides_nothing() -> None:
    async def run() -> DmarcResult:
        names = Names(is_down=True)
        found = await find_policy("x.a.test", names, suffixes=SUFFIXES)
        return await evaluate(found, None, [], names)

    assert asyncio.run(run()).outcome.value == "temperror"


def test_a_file_is_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text(LIST)
    assert read_suffixes(path).organizational_domain("c.b.test") == "b.test"
    path.write_text("// nothing\n")
    with pytest.raises(BadSuffixList):
        read_suffixes(path)


def test_a_label_cannot_make_it_slow() -> None:
    assert SUFFIXES.organizational_domain(".".join(["a"] * 126)) == "a.a"
