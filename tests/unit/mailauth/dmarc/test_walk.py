"""The tree walk: which names are asked, whose record counts, to what a domain belongs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from relevo.mailauth.dmarc.walk import TreeWalk, WalkFailed, names_above
from unit.mailauth.spf.zones import FAILS, Zones

NONE = "v=DMARC1; p=none"
REJECT = "v=DMARC1; p=reject"


def zones(records: Mapping[str, str]) -> Zones:
    return Zones(
        {
            f"TXT _dmarc.{domain}": text if text == FAILS else [text]
            for domain, text in records.items()
        }
    )


def organization(domain: str, records: Mapping[str, str]) -> str:
    return asyncio.run(TreeWalk(domain, zones(records)).organizational_domain())


def test_at_most_eight_names_are_asked() -> None:
    long = "a.b.c.d.e.f.g.h.i.j.mail.example.com"
    names = zones({})
    asyncio.run(TreeWalk(long, names).steps())
    expected = [
        long, "g.h.i.j.mail.example.com", "h.i.j.mail.example.com", "i.j.mail.example.com",
        "j.mail.example.com", "mail.example.com", "example.com", "com",
    ]  # fmt: skip
    assert names.asked == [f"TXT _dmarc.{name}" for name in expected]


def test_names_above() -> None:
    assert names_above("a.b.c") == ["b.c", "c"]
    assert names_above("c") == []
    assert names_above("1.2.3.4.5.6.7.8")[0] == "2.3.4.5.6.7.8"


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        pytest.param({}, "a.mail.example.com", id="nothing"),
        pytest.param({"example.com": NONE}, "example.com", id="above"),
        pytest.param({"a.mail.example.com": NONE}, "a.mail.example.com", id="own"),
        pytest.param({"mail.example.com": NONE, "example.com": NONE}, "example.com", id="fewest"),
        pytest.param(
            {"mail.example.com": NONE + ";psd=n", "example.com": NONE}, "mail.example.com", id="n"
        ),
        pytest.param({"com": NONE + ";psd=y"}, "example.com", id="suffix"),
        pytest.param({"example.com": NONE + ";psd=y"}, "mail.example.com", id="private-suffix"),
        pytest.param(
            {"a.mail.example.com": NONE + ";psd=y", "example.com": NONE},
            "example.com",
            id="the-start-is-no-suffix-of-itself",
        ),
        pytest.param(
            {"mail.example.com": NONE + ";psd=y", "com": NONE + ";psd=y"},
            "a.mail.example.com",
            id="the-longest-suffix",
        ),
        pytest.param({"example.com": NONE, "com": "v=DMARC1;psd=y"}, "example.com", id="both"),
        pytest.param({"com": NONE}, "com", id="a-top-level-domain-that-says-nothing"),
    ],
)
def test_organizational_domain(records: dict[str, str], expected: str) -> None:
    assert organization("a.mail.example.com", records) == expected


def test_own_record_ends_the_walk_with_psd_n() -> None:
    names = zones({"a.example.com": REJECT + ";psd=n", "example.com": FAILS})
    steps = asyncio.run(TreeWalk("a.example.com", names).steps())
    assert [step.domain for step in steps] == ["a.example.com"]


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ({}, None),
        ({"a.example.com": NONE, "example.com": REJECT}, "a.example.com"),
        ({"example.com": REJECT}, "example.com"),
        ({"com": "v=DMARC1; p=reject; psd=y"}, "com"),
        ({"example.com": NONE, "com": "v=DMARC1; p=reject; psd=y"}, "example.com"),
    ],
)
def test_whose_policy_applies(records: dict[str, str], expected: str | None) -> None:
    found = asyncio.run(TreeWalk("a.example.com", zones(records)).policy_record())
    assert (found[0] if found else None) == expected


def test_the_own_record_is_one_question() -> None:
    names = zones({"example.com": REJECT})
    asyncio.run(TreeWalk("example.com", names).policy_record())
    assert names.asked == ["TXT _dmarc.example.com"]


@pytest.mark.parametrize("failing", ["a.example.com", "example.com", "com"])
def test_dns_that_fails_is_no_absence(failing: str) -> None:
    walk = TreeWalk("a.example.com", zones({failing: FAILS}))
    with pytest.raises(WalkFailed, match=f"_dmarc.{failing} TXT"):
        asyncio.run(walk.policy_record())


def test_dns_that_fails_behind_the_end_matters_not() -> None:
    records = {"example.com": NONE + ";psd=n", "com": FAILS}
    assert organization("a.example.com", records) == "example.com"
