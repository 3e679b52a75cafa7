"""Addresses: one normal form, whatever was sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.mail.address import (
    NULL,
    Address,
    InvalidAddress,
    InvalidDomain,
    InvalidUser,
    domain_to_ascii,
    normalize_domain,
    normalize_local_address,
    normalize_user,
    parse_address,
)


@pytest.mark.parametrize(
    ("text", "local", "domain"),
    [
        pytest.param("a@b.test", "a", "b.test", id="plain"),
        pytest.param("Zed@PASS.test", "Zed", "pass.test", id="local part as it stands"),
        pytest.param('"a@d1.test"@r.test', "a@d1.test", "r.test", id="splits at the last @"),
        pytest.param('"a"@b.test', "a", "b.test", id="quotes that were not needed"),
        pytest.param(r'"a\"\\b"@b.test', 'a"\\b', "b.test", id="quoted pairs"),
        pytest.param('"a b"@b.test', "a b", "b.test", id="blank"),
        pytest.param("a@[127.0.0.1]", "a", "[127.0.0.1]", id="IPv4 literal"),
        pytest.param("a@[IPv6:::1]", "a", "[ipv6:::1]", id="IPv6 literal"),
        pytest.param("ñ@Ñandú.test", "ñ", "ñandú.test", id="UTF-8"),
        pytest.param("postmaster", "postmaster", "", id="no domain"),
        pytest.param('"a@b"', "a@b", "", id="no domain, @ in quotes"),
    ],
)
def test_parts_of_an_address(text: str, local: str, domain: str) -> None:
    assert parse_address(text) == Address(local, domain)


@pytest.mark.parametrize(
    "text", ["@b.test", "a@b..test", "a@-b.test", "a@b_c.test", "a@b c.test", "a@a/b.test", "a@["]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidAddress):
        parse_address(text)


def test_default_domain_is_for_bare_users_only() -> None:
    assert parse_address("user", "D1.test") == Address("user", "d1.test")
    assert parse_address("user@r.test", "d1.test") == Address("user", "r.test")


def test_null_reverse_path() -> None:
    assert parse_address("") is NULL
    assert NULL.is_null
    assert (str(NULL), NULL.plain) == ("", "<>")
    assert not Address("a", "").is_null


@pytest.mark.parametrize(
    ("address", "written", "plain"),
    [
        pytest.param(Address("a.b", "c.test"), "a.b@c.test", "a.b@c.test", id="dot-string"),
        pytest.param(Address("a b", "c.test"), '"a b"@c.test', "a b@c.test", id="blank"),
        pytest.param(Address("a..b", "c.test"), '"a..b"@c.test', "a..b@c.test", id="two dots"),
        pytest.param(Address('a"\\', "c.test"), '"a\\"\\\\"@c.test', 'a"\\@c.test', id="specials"),
        pytest.param(Address("a@b", "c.test"), '"a@b"@c.test', "a@b@c.test", id="at sign"),
        pytest.param(Address("user", ""), "user", "user", id="no domain"),
    ],
)
def test_writing_quotes_where_it_must(address: Address, written: str, plain: str) -> None:
    assert str(address) == written
    assert address.plain == plain


@pytest.mark.case("S31", "S32")
@pytest.mark.parametrize(
    "domain",
    [
        "ñandú.test",
        "ÑANDÚ.TEST",
        "n\u0303andu\u0301.test",
        "xn--and-6ma2c.test",
        "XN--AND-6MA2C.TEST",
        "Xn--And-6mA2c.test",
    ],
)
def test_every_spelling_of_a_domain_is_one_domain(domain: str) -> None:
    assert normalize_domain(domain) == "ñandú.test"
    assert domain_to_ascii(normalize_domain(domain)) == "xn--and-6ma2c.test"


@pytest.mark.case("D25")
@pytest.mark.parametrize(
    "domain",
    [
        pytest.param("a/b.test", id="slash"),
        pytest.param("ñ/b.test", id="slash beside a U-label"),
        pytest.param("a!b.test", id="exclamation mark"),
        pytest.param("a_b.test", id="underscore"),
        pytest.param("..", id="dots"),
        pytest.param("a.", id="trailing dot"),
        pytest.param("a\x00.test", id="NUL"),
        pytest.param("a\u200db.test", id="joiner"),
        pytest.param("xn--a.test", id="A-label of nothing"),
        pytest.param("xn--zzzzzzz99.test", id="malformed punycode"),
        pytest.param("a" * 64 + ".test", id="label of 64 octets"),
        pytest.param(".".join(["a" * 50] * 6), id="more than 253 octets"),
        pytest.param(".".join(["ñ" * 40] * 6), id="more than 253 octets as A-labels"),
        pytest.param("[1.2.3]", id="short literal"),
        pytest.param("[1.2.3.4", id="literal without its bracket"),
        pytest.param("[ipv6:fe80::1%eth0]", id="literal with a zone"),
        pytest.param("[x:../..]", id="literal of an unknown tag"),
        pytest.param("", id="empty"),
    ],
)
def test_what_is_no_hostname_is_refused(domain: str) -> None:
    with pytest.raises(InvalidDomain):
        normalize_domain(domain)


@pytest.mark.parametrize(
    ("user", "normal"),
    [("A.B", "a.b"), ("ÑU", "ñu"), ("n\u0303", "ñ"), ("\uff21", "a"), ("o'x+y", "o'x+y")],
)
def test_user_is_case_mapped(user: str, normal: str) -> None:
    assert normalize_user(user) == normal
    assert normalize_local_address(Address(user, "d1.test")) == Address(normal, "d1.test")


@pytest.mark.case("S28")
@pytest.mark.parametrize("user", ["a\u200db", "a b", "a\x00", "a\n", "", "\ufb01"])
def test_user_that_precis_refuses(user: str) -> None:
    with pytest.raises(InvalidUser):
        normalize_user(user)


LOCAL_PARTS = st.text(min_size=1, max_size=30)
DOMAINS = st.sampled_from(["", "b.test", "ñandú.test", "[127.0.0.1]"])


@given(LOCAL_PARTS, DOMAINS)
def test_what_is_written_reads_back(local: str, domain: str) -> None:
    address = Address(local, domain)
    assert parse_address(str(address)) == address


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        address = parse_address(text)
    except InvalidAddress:
        return
    assert not set("/ \t\r\n\x00") & set(address.domain)
    assert parse_address(str(address)) == address


@given(st.text(max_size=40) | st.from_regex(r"[a-zñüß]{1,8}(\.[A-Zа-я]{1,8}){0,3}", fullmatch=True))
def test_normal_form_of_a_domain_is_stable(text: str) -> None:
    try:
        normal = normalize_domain(text)
    except InvalidDomain:
        return
    assert normalize_domain(normal) == normal
    ascii_form = domain_to_ascii(normal)
    assert ascii_form.isascii()
    assert normalize_domain(ascii_form) == normal
    assert normalize_domain(ascii_form.upper()) == normal


@given(st.text(max_size=20))
def test_normal_form_of_a_user_is_stable(text: str) -> None:
    try:
        normal = normalize_user(text)
    except InvalidUser:
        return
    assert normalize_user(normal) == normal
