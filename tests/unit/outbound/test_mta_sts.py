"""Records and texts of MTA-STS policies, and what they allow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.outbound.mta_sts import MAX_AGE_S, BadPolicy, Mode, StsPolicy, read_policy, read_record

TEXT = b"version: STSv1\r\nmode: enforce\r\nmx: mail.b.test\r\nmx: *.b.test\r\nmax_age: 604800\r\n"


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([b"v=STSv1; id=20160831085700Z;"], "20160831085700Z"),
        ([b"v=STSv1;id=a"], "a"),
        ([b"v=STSv1; x=y; id = b ; z=w;"], "b"),
        ([b"v=spf1 -all", b"v=STSv1; id=c;"], "c"),
        ([b"v=STSv1; id=c;", b"v=STSv1; id=d;"], None),
        ([b"v=STSv2; id=c;"], None),
        ([b"v=STSv1; id=;"], None),
        ([b"v=STSv1; id=a-b;"], None),
        ([b"v=STSv1; id=" + b"a" * 33], None),
        ([b"v=STSv1;"], None),
        ([b" v=STSv1; id=a"], None),
        ([], None),
    ],
)
def test_records(records: list[bytes], expected: str | None) -> None:
    assert read_record(records) == expected


def test_a_policy() -> None:
    policy = read_policy(TEXT)
    expected = ("mail.b.test", "*.b.test")
    assert (policy.mode, policy.max_age_s, policy.mx) == (Mode.ENFORCE, 604800, expected)
    assert policy.lines[0] == "version: STSv1"
    assert read_policy("\n".join(policy.lines).encode()) == policy


def test_what_is_forgiven() -> None:
    policy = read_policy(
        b"version:STSv1\n\nunknown line\nfuture: thing\nmode:testing \nmode: enforce\n"
        b"mx:\tMAIL.B.test.\nmax_age: 99999999999\n"[:-3]
        + b"9\n"
    )
    assert policy == StsPolicy(Mode.TESTING, MAX_AGE_S, ("mail.b.test",), policy.lines)
    assert read_policy(b"version: STSv1\nmode: none\nmax_age: 1\n").mx == ()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"STSv1", b"STSv2"),
        (b"version: STSv1\r\n", b""),
        (b"enforce", b"enforced"),
        (b"mode: enforce\r\n", b""),
        (b"604800", b"0"),
        (b"604800", b"-1"),
        (b"604800", b"1e5"),
        (b"604800", b"1" * 11),
        (b"max_age: 604800\r\n", b""),
        (b"mx: mail.b.test\r\nmx: *.b.test\r\n", b""),
        (b"mail.b.test", b"*.*.b.test"),
        (b"mail.b.test", b"mail b"),
        (b"mail.b.test", "bü".encode()),
        (b"mail.b.test", b"." + b"a" * 300),
        (b"mode", b"x: " + b"y" * 70_000 + b"\r\nmode"),
        (b"mx: mail.b.test\r\n", b"mx: mail.b.test\r\n" * 201),
    ],
)
def test_what_is_no_policy(old: bytes, new: bytes) -> None:
    assert old in TEXT
    with pytest.raises(BadPolicy):
        read_policy(TEXT.replace(old, new))


@pytest.mark.parametrize(
    ("host", "is_allowed"),
    [
        ("mail.b.test", True),
        ("MAIL.b.test.", True),
        ("a.b.test", True),
        ("a.a.b.test", False),
        ("b.test", False),
        ("mail.b.test.evil.test", False),
        ("xb.test", False),
        ("", False),
    ],
)
def test_which_hosts_are_allowed(host: str, is_allowed: bool) -> None:
    assert read_policy(TEXT).allows(host) is is_allowed


@given(
    st.binary(max_size=200)
    | st.lists(st.sampled_from(TEXT.split(b" ")), max_size=12).map(b" ".join)
)
def test_any_octets_are_a_policy_or_none(text: bytes) -> None:
    try:
        policy = read_policy(text)
    except BadPolicy:
        return
    assert 0 < policy.max_age_s <= MAX_AGE_S
