"""The grammar of records."""

from __future__ import annotations

import time
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.mailauth.spf.record import (
    MAX_RECORD,
    A,
    All,
    BadRecord,
    Directive,
    Exists,
    Include,
    Ip,
    Mechanism,
    Mx,
    Ptr,
    parse_record,
    select_record,
)
from relevo.mailauth.spf.result import SpfOutcome


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], None),
        ([b"v=spf10 -all", b"v=spf", b" v=spf1"], None),
        ([b"x", b"v=spf1"], b"v=spf1"),
        ([b"V=Spf1 -all"], b"V=Spf1 -all"),
        ([b"v=spf1\t-all"], None),
    ],
)
def test_a_record_is_known_by_its_version(texts: list[bytes], expected: bytes | None) -> None:
    assert select_record(texts) == expected


def test_several_records_are_refused() -> None:
    with pytest.raises(BadRecord, match="2 SPF records"):
        select_record([b"v=spf1", b"v=spf1 a"])


@pytest.mark.parametrize(
    ("term", "mechanism"),
    [
        ("all", All()),
        ("ALL", All()),
        ("include:x.test", Include(("x.test",))),
        ("exists:x.test", Exists(("x.test",))),
        ("a", A(None, 32, 128)),
        ("a/24", A(None, 24, 128)),
        ("a//64", A(None, 32, 64)),
        ("a/24//64", A(None, 24, 64)),
        ("a:x.test/0", A(("x.test",), 0, 128)),
        ("a:x/y.test", A(("x/y.test",), 32, 128)),
        ("MX:x.test//128", Mx(("x.test",), 32, 128)),
        ("ptr", Ptr(None)),
        ("ptr:x.test", Ptr(("x.test",))),
        ("ip4:192.0.2.1", Ip(IPv4Network("192.0.2.1/32"))),
        ("ip4:192.0.2.1/24", Ip(IPv4Network("192.0.2.0/24"))),
        ("ip6:2001:db8::1/32", Ip(IPv6Network("2001:db8::/32"))),
        ("ip6:::1", Ip(IPv6Network("::1/128"))),
    ],
)
def test_mechanisms(term: str, mechanism: Mechanism) -> None:
    record = parse_record(f"v=spf1 -{term}".encode())
    assert record.directives == (Directive(SpfOutcome.FAIL, mechanism),)


@pytest.mark.parametrize(
    "term",
    [
        "-", "+-all", "all:x", "all/8", "include", "include:", "include:x", "include:x.test/24",
        "a:", "a:/24", "a/", "a/33", "a//129", "a/024", "a/24/64", "a//", "a:x.123", "a:x.-y",
        "a:x.y-", "mx/-1", "ptr/24", "ptr:", "ip4", "ip4:", "ip4:1.2.3", "ip4:1.2.3.4/",
        "ip4:1.2.3.4/33", "ip4:1.2.3.4//24", "ip4:01.2.3.4", "ip6:::1/129", "ip6:1.2.3.4",
        "ip6:fe80::1%eth0", "exists", "exists:", "redirect=", "exp=", "redirect=x", "exp=%{c}.x",
        "redirect:x.test", "foo", "=x", "1=x", "foo=%", "foo=%{x}", "a:%{d0}.test", "a:%{d",
        "a:x.test\t", "a:x}", "ip4:１.2.3.4",
    ],
)  # fmt: skip
def test_one_bad_term_makes_the_record_bad(term: str) -> None:
    with pytest.raises(BadRecord) as raised:
        parse_record(f"v=spf1 ip4:192.0.2.1 {term} -all".encode())
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 150


@pytest.mark.parametrize("name", ["redirect", "exp", "Redirect"])
def test_modifiers_stand_once(name: str) -> None:
    with pytest.raises(BadRecord, match="twice"):
        parse_record(f"v=spf1 {name}=x.test {name.upper()}=x.test".encode())


def test_modifiers_of_others_are_passed_over() -> None:
    record = parse_record(b"v=spf1 x=%{c}/y ra=a exp=e.%{d} redirect=%{d2}.test  ")
    assert record.directives == ()
    assert record.redirect is not None
    assert record.explanation is not None


def test_long_records_are_refused() -> None:
    with pytest.raises(BadRecord, match="octets"):
        parse_record(b"v=spf1 " + b"a " * MAX_RECORD)


@pytest.mark.parametrize("filler", ["a:%", "/", "//1", "%%", "ip4:1/", "x=", ".a", "%{d}", "-"])
def test_the_longest_hostile_record_is_read_quickly(filler: str) -> None:
    began = time.process_time()
    with suppress(BadRecord):
        parse_record(("v=spf1 a:" + filler * MAX_RECORD).encode()[:MAX_RECORD])
    assert time.process_time() - began < 0.5


def problem_of(octets: bytes) -> str:
    """Why a record is refused; "" when it is read."""
    try:
        parse_record(octets)
    except BadRecord as error:
        return str(error)
    return ""


@given(st.binary(max_size=200))
def test_any_octets_are_read_or_refused(octets: bytes) -> None:
    problem = problem_of(b"v=spf1 " + octets)
    assert problem.isascii()
    assert problem.isprintable()


@given(st.text(alphabet="amx ptr:/%{d}l0r-.+,_=2~?iv64includexst", max_size=60))
def test_texts_that_look_like_records_are_read_or_refused(text: str) -> None:
    assert len(problem_of(f"v=spf1 {text}".encode())) < 150
