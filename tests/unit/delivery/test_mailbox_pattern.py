"""Patterns, and hostile names: every value is one component, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.delivery.mailbox_pattern import (
    MAX_VALUE_OCTETS,
    InvalidMailboxName,
    InvalidPattern,
    escape_name,
    parse_pattern,
)

HOSTILE = [
    ("..", "%2E."),
    (".", "%2E"),
    (".hidden", "%2Ehidden"),
    ("...", "%2E.."),
    ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"),
    ("/", "%2F"),
    ("//", "%2F%2F"),
    ("/etc/passwd", "%2Fetc%2Fpasswd"),
    ("a/b", "a%2Fb"),
    ("a/../b", "a%2F..%2Fb"),
    ("a/", "a%2F"),
    ("a\0b", "a%00b"),
    ("\0", "%00"),
    ("%", "%25"),
    ("%2F", "%252F"),
    ("%2E%2E", "%252E%252E"),
    ("%00", "%2500"),
    ("a\nb", "a%0Ab"),
    ("a\r\nb", "a%0D%0Ab"),
    ("\t", "%09"),
    ("\x1b[31m", "%1B[31m"),
    ("\x7f", "%7F"),
    ("\x85", "%C2%85"),
    ("\x9b31m", "%C2%9B31m"),
    ("-rf", "-rf"),
    ("--", "--"),
    ("~", "~"),
    ("~root", "~root"),
    ("$(id)", "$(id)"),
    ("`id`", "`id`"),
    ("a b", "a b"),
    ("*", "*"),
    ("a;b", "a;b"),
    ("a|b", "a|b"),
    ("a\\b", "a\\b"),
    ("..\\..", "%2E.\\.."),
    ('"', '"'),
    ("'", "'"),
    ("{user}", "{user}"),
    ("{domain}", "{domain}"),
    ("a.", "a."),
    ("a..b", "a..b"),
    ("münchen", "münchen"),
    ("．．", "．．"),
    ("∕", "∕"),
    ("\u202egnp", "\u202egnp"),
    ("cur", "cur"),
    ("new", "new"),
    ("tmp", "tmp"),
    ("x" * MAX_VALUE_OCTETS, "x" * MAX_VALUE_OCTETS),
]


@pytest.mark.parametrize(
    ("value", "escaped"), HOSTILE, ids=[repr(value)[:24] for value, _ in HOSTILE]
)
def test_hostile_name_is_one_component(value: str, escaped: str) -> None:
    assert escape_name(value) == escaped
    pattern = parse_pattern("/mail/{domain}/{user}")
    assert pattern.components(value, "d1.test") == ("d1.test", escaped)
    assert pattern.components("u", value) == (escaped, "u")


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("", id="empty"),
        pytest.param("x" * (MAX_VALUE_OCTETS + 1), id="too-long"),
        pytest.param("/" * 67, id="too-long-once-escaped"),
        pytest.param("ü" * 101, id="too-many-octets"),
        pytest.param("a\udc80", id="no-text"),
    ],
)
def test_name_that_no_mailbox_can_have_is_refused(value: str) -> None:
    with pytest.raises(InvalidMailboxName):
        parse_pattern("/mail/{domain}/{user}").components(value, "d1.test")


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_escaped_name_is_safe_and_distinct(value: str) -> None:
    escaped = escape_name(value)
    assert "/" not in escaped
    assert "\0" not in escaped
    assert not escaped.startswith(".")
    unescaped = bytearray()
    octets = escaped.encode()
    while octets:
        if octets[:1] == b"%":
            unescaped.append(int(octets[1:3], 16))
            octets = octets[3:]
        else:
            unescaped += octets[:1]
            octets = octets[1:]
    assert unescaped.decode() == value


@pytest.mark.parametrize(
    ("text", "fixed", "below"),
    [
        ("/var/mail/{domain}/{user}", "/var/mail", ("{domain}", "{user}")),
        ("/home/{user}/Maildir/", "/home", ("{user}", "Maildir")),
        ("/m/box-{user}@{domain}", "/m", ("box-{user}@{domain}",)),
        ("/{user}", "/", ("{user}",)),
        ("/var/mail/all", "/var/mail", ("all",)),
        ("//var//mail/{user}", "/var/mail", ("{user}",)),
    ],
)
def test_pattern_is_parsed(text: str, fixed: str, below: tuple[str, ...]) -> None:
    pattern = parse_pattern(text)
    assert (pattern.fixed, pattern.below) == (Path(fixed), below)


def test_values_are_put_into_a_component_once() -> None:
    pattern = parse_pattern("/m/box-{user}@{domain}")
    assert pattern.components("{domain}", "d1.test") == ("box-{domain}@d1.test",)


def test_component_longer_than_a_file_name_is_refused() -> None:
    with pytest.raises(InvalidMailboxName, match="too long"):
        parse_pattern("/m/{user}{domain}").components("u" * 200, "d" * 100)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mail/{user}", "not an absolute path"),
        ("", "not an absolute path"),
        ("/", "root directory"),
        ("/mail/{name}", "unknown placeholder {name}"),
        ("/mail/{}", "unknown placeholder {}"),
        ("/mail/../{user}", "a component '..'"),
        ("/mail/{user", "brace without its partner"),
        ("/mail/user}", "brace without its partner"),
    ],
)
def test_bad_pattern_is_refused_with_its_fault(text: str, words: str) -> None:
    with pytest.raises(InvalidPattern, match=words.replace("{", r"\{").replace("}", r"\}")):
        parse_pattern(text)
