"""Macros: the examples of RFC 7208 §7.4, and the bounds."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.mailauth.spf.macros import (
    BadMacro,
    dotted_address,
    expand,
    expand_domain,
    letters,
    parse_domain_spec,
    parse_explanation,
    parse_macro_string,
)

VALUES = {
    "s": "strong-bad@email.example.com",
    "l": "strong-bad",
    "o": "email.example.com",
    "d": "email.example.com",
    "i": "192.0.2.3",
    "p": "mx.example.org",
    "v": "in-addr",
    "h": "mx.example.org",
    "c": "192.0.2.3",
    "r": "us.test",
    "t": "1000",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%{s}", "strong-bad@email.example.com"),
        ("%{o}", "email.example.com"),
        ("%{d}", "email.example.com"),
        ("%{d4}", "email.example.com"),
        ("%{d3}", "email.example.com"),
        ("%{d2}", "example.com"),
        ("%{d1}", "com"),
        ("%{dr}", "com.example.email"),
        ("%{d2r}", "example.email"),
        ("%{l}", "strong-bad"),
        ("%{l-}", "strong.bad"),
        ("%{lr}", "strong-bad"),
        ("%{lr-}", "bad.strong"),
        ("%{l1r-}", "strong"),
        ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
        ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
        ("%{lr-}.lp.%{ir}.%{v}._spf.%{d2}",
         "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"),
        ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
        ("%{S}", "strong-bad%40email.example.com"),
        ("a%%b%_c%-d", "a%b c%20d"),
        ("%{D1R-}", "email.example.com"),
        ("%{d001}", "com"),
        ("%{d99999999999999999999}", "email.example.com"),
    ],
)  # fmt: skip
def test_expansion(text: str, expected: str) -> None:
    macros = parse_macro_string(text)
    assert letters(macros) <= set(VALUES)
    assert expand(macros, VALUES) == expected


def test_an_ipv6_address_is_dotted_by_digits() -> None:
    expected = "2.0.0.1.0.D.B.8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.C.B.0.1"
    assert dotted_address(IPv6Address("2001:db8::cb01")) == expected
    assert dotted_address(IPv4Address("192.0.2.3")) == "192.0.2.3"


@pytest.mark.parametrize(
    "text",
    ["%", "%{", "%{}", "%{x}", "%{d", "%{d0}", "%{d00}", "%{dr2}", "%{d;}", "% d", "a b", "\x7f"],
)
def test_what_is_no_macro_is_refused(text: str) -> None:
    with pytest.raises(BadMacro):
        parse_macro_string(text)


@pytest.mark.parametrize(
    "text", ["%{d}", "x.%{d}", "x.y", "x.y.", ".com", "x%%", "x.xn--a1", "x.1a"]
)
def test_targets(text: str) -> None:
    assert parse_domain_spec(text)


@pytest.mark.parametrize(
    "text", ["", "x", "x.", "x.1", "x.1.", "%{d}x", "x.a_b", "%{c}.x.y", "x.%{t}"]
)
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(BadMacro):
        parse_domain_spec(text)


def test_an_explanation_has_blanks_and_letters_of_its_own() -> None:
    macros = parse_explanation("See  http://x/?%{C} at %{t}")
    assert expand(macros, VALUES) == "See  http://x/?192.0.2.3 at 1000"


@given(st.lists(st.text("ab", min_size=1, max_size=70), min_size=1, max_size=12))
def test_a_long_name_loses_labels_from_the_left(labels: list[str]) -> None:
    whole = ".".join(labels)
    name = expand_domain((whole,), {})
    assert len(name) <= 253
    assert whole == name or (whole.endswith(f".{name}") and len(whole) > 253)
    longer = ".".join(labels[-name.count(".") - 2 :])
    assert whole == name or len(longer) > 253


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_macro_string, parse_explanation, parse_domain_spec):
        try:
            macros = parse(text)
        except BadMacro:
            continue
        assert expand(macros, VALUES) is not None
