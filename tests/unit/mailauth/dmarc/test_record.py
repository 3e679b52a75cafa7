"""DMARC records: which text is one, and what is read of it."""

from __future__ import annotations

import pytest

from relevo.mailauth.dmarc.record import (
    MAX_ADDRESSES,
    DmarcRecord,
    Policy,
    Suffix,
    parse_record,
    select_record,
)


def record(text: str) -> DmarcRecord:
    found = parse_record(text.encode())
    assert found is not None
    return found


@pytest.mark.parametrize(
    "text",
    [
        "v=DMARC1; p=reject",
        "v=DMARC1;p=reject;",
        "v = DMARC1 ; p = reject ; ; ",
        "v=DMARC1; sp=none; p=REJECT; pct=10; rf=afrf; ri=3600; x=y",
        "v=DMARC1; broken; =; p=reject; adkim=q; t=maybe; psd=?",
    ],
)
def test_records_that_reject(text: str) -> None:
    found = record(text)
    assert found.p is Policy.REJECT
    assert found.is_usable
    assert (found.is_strict_dkim, found.is_testing, found.suffix) == (False, False, Suffix.UNKNOWN)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"v=dmarc1; p=reject",
        b"V=DMARC1; p=reject",
        b" v=DMARC1; p=reject",
        b"v=DMARC10; p=reject",
        b"v=DMARC2",
        b"p=reject; v=DMARC1",
        b"v=DMARC1; p=reject; p=none",
        b"v=DMARC1; v=DMARC1; p=none",
        b"v=DMARC1; p=reject;" + b" " * 9000,
    ],
)
def test_what_is_no_record(text: bytes) -> None:
    assert parse_record(text) is None


def test_every_tag() -> None:
    found = record("v=DMARC1;p=quarantine;sp=reject;np=none;adkim=s;aspf=S;t=y;psd=n;fo=1:d")
    assert (found.p, found.sp, found.np) == (Policy.QUARANTINE, Policy.REJECT, Policy.NONE)
    assert found.is_strict_dkim
    assert found.is_strict_spf
    assert found.is_testing
    assert found.suffix is Suffix.NO
    assert found.failure_options == "1:d"


@pytest.mark.parametrize(
    ("rua", "expected"),
    [
        ("mailto:a@b.test", ("a@b.test",)),
        ("MAILTO:a@b.test!10m , mailto:c@d.test", ("a@b.test", "c@d.test")),
        ("mailto:a@b.test,mailto:a@b.test", ("a@b.test",)),
        ("https://b.test/x, mailto:a@b.test, a@b.test, mailto:a%20b@c.test", ("a@b.test",)),
        ("mailto:a@b.test?subject=x", ("a@b.test",)),
        (", ,mailto:", ()),
    ],
)
def test_where_reports_go(rua: str, expected: tuple[str, ...]) -> None:
    assert record(f"v=DMARC1; p=none; rua={rua}").reports_to == expected


def test_addresses_of_reports_are_bounded() -> None:
    many = ",".join(f"mailto:a{number}@b.test" for number in range(100))
    assert len(record(f"v=DMARC1; rua={many}").reports_to) == MAX_ADDRESSES


@pytest.mark.parametrize(
    ("text", "is_usable"),
    [
        ("v=DMARC1", False),
        ("v=DMARC1; p=rejct", False),
        ("v=DMARC1; p=reject; sp=?", False),
        ("v=DMARC1; p=reject; np=?", False),
        ("v=DMARC1; p=rejct; rua=mailto:a@b.test", True),
        ("v=DMARC1; rua=mailto:a@b.test", True),
    ],
)
def test_a_bad_policy_is_none_for_who_wants_reports(text: str, is_usable: bool) -> None:
    found = record(text)
    assert found.is_usable is is_usable
    if is_usable:
        assert found.policy_of(is_own=True, exists=True) == (Policy.NONE, "p")


@pytest.mark.parametrize(
    ("text", "is_own", "exists", "expected"),
    [
        ("p=reject; sp=quarantine; np=none", True, True, "p"),
        ("p=reject; sp=quarantine; np=none", False, True, "sp"),
        ("p=reject; sp=quarantine; np=none", False, False, "np"),
        ("p=reject; sp=quarantine", False, False, "sp"),
        ("p=reject; np=none", False, True, "p"),
        ("p=reject", False, False, "p"),
    ],
)
def test_which_policy_applies(text: str, is_own: bool, exists: bool, expected: str) -> None:
    found = record(f"v=DMARC1; {text}")
    assert found.policy_of(is_own=is_own, exists=exists)[1] == expected


def test_of_several_records_none_counts() -> None:
    assert select_record([b"v=DMARC1; p=none", b"v=DMARC1; p=reject"]) is None
    assert select_record([b"v=spf1 -all", b"x", b"v=DMARC1; p=reject"]) == DmarcRecord(
        p=Policy.REJECT
    )
    assert select_record([]) is None


def test_testing_is_one_level_lower() -> None:
    assert Policy.REJECT.lower is Policy.QUARANTINE
    assert Policy.QUARANTINE.lower is Policy.NONE
    assert Policy.NONE.lower is Policy.NONE
