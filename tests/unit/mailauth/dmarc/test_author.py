"""Who a message says wrote it: the forms that all programs read alike, and those they do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.mailauth.dmarc import read_author


@pytest.mark.parametrize(
    "value",
    [
        "a@b.test",
        "<a@b.test>",
        "A <a@B.TEST>",
        '"A, B" <a@b.test>',
        "A B. C <a@b.test>",
        "=?utf-8?q?=C3=A9?= <a@b.test>",
        "é <a@b.test>",
        "a@b.test (A)",
        "A (of (B) \\) ) <a@b.test>",
        '"a b"@b.test',
        "a.b+c@b.test",
        "A\r\n <a@b.test>",
        "a@b.test, c@b.test",
        "a@b.test <c@b.test>",
        '"a@elsewhere.test" <a@b.test>',
        "Doe, John <a@b.test>",
        "a@b.test,",
        "\xff\xfe <a@b.test>",
    ],
)
def test_one_author(value: str) -> None:
    octets = value.encode("latin-1") if "\xff" in value else value.encode()
    found = read_author(b"From: " + octets + b"\r\nTo: x@y.test\r\n")
    assert (found.domain, found.problem) == ("b.test", "")


def test_domains_are_a_labels() -> None:
    assert read_author("From: a@Bücher.test\r\n".encode()).domain == "xn--bcher-kva.test"
    assert read_author(b"From: a@XN--BCHER-KVA.test\r\n").domain == "xn--bcher-kva.test"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("", "no address"),
        ("A", "no address"),
        ("<>", "no address in brackets"),
        ("a@b.test, c@d.test", "several domains"),
        ("<a@b.test>, <c@d.test>", "several domains"),
        ("a@b.test <c@d.test>", "several domains"),
        ("<a@b.test>c@d.test", "before another text"),
        ("<a@b.test> <c@d.test>", "before another text"),
        ("<<a@b.test>", "before another text"),
        ("<a@b.test", "before another text"),
        ("a@b.test>", "without a domain name"),
        ("<@x.test,@y.test:a@b.test>", "a group or a route"),
        ("<@x.test:a@b.test>", "a group or a route"),
        ("friends: a@b.test;", "a group or a route"),
        ("undisclosed:;", "a group or a route"),
        ("a@b.test;c@d.test", "a group"),
        ("<a@b.test>\\,<c@d.test>", "out of place"),
        ("a @b.test", "a blank or a comment within"),
        ("a@b.(x)test", "a blank or a comment within"),
        ("a@ b.test", "a blank or a comment within"),
        ("a@b.test c", "a blank or a comment within"),
        ("(<c@d.test>) a@b.test", "a comment that looks like"),
        ("(a@b.test", "does not end"),
        ("((((((((x)))))))) a@b.test", "does not end"),
        ('"a@b.test', "open quotation mark"),
        ("a@[192.0.2.1]", "without a domain name"),
        ("a@b_c.test", "without a domain name"),
        ("a@b.test.", "without a domain name"),
        ("a@b@c.test", "several @"),
        ("@b.test", "local part"),
        ('"c@d.test"@b.test', "quoted local part"),
        ("=?utf-8?b?Y0BkLnRlc3Q=?=@b.test", "local part"),
        ("=?utf-8?b?PGNAZC50ZXN0Pg==?=, <a@b.test>", "an entry without an address"),
        ('"c@d.test", <a@b.test>', "an entry without an address"),
        ("a@b.test\x00", "control character"),
        ("a@b.test\x00.c.test", "control character"),
        ("a\r@b.test", "control character"),
        ("a@b.test, " * 500, "too long"),
    ],
)
def test_no_clear_author(value: str, problem: str) -> None:
    found = read_author(b"From: " + value.encode() + b"\r\n")
    assert found.domain == ""
    assert problem in found.problem


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        (b"From: a@b.test\r\nFrom: a@b.test\r\n", "several From fields"),
        (b"From: a@b.test\r\nfRoM : c@d.test\r\n", "several From fields"),
        (b"From: a@b.test\r\n\xa0From: c@d.test\r\n", "nearly called From"),
        (b"From\x00: c@d.test\r\nFrom: a@b.test\r\n", "nearly called From"),
        (b"\x00From: c@d.test\r\nFrom: a@b.test\r\n", "nearly called From"),
        (b"From\x0b: c@d.test\r\n", "nearly called From"),
        (b"Sender: a@b.test\r\n", "no From field"),
        (b"Resent-From: a@b.test\r\n", "no From field"),
        (b"", "no From field"),
    ],
)
def test_fields(head: bytes, problem: str) -> None:
    found = read_author(head)
    assert problem in found.problem
    assert found.is_missing is (problem == "no From field")


def test_names_that_only_contain_from_are_others() -> None:
    head = b"X-From: c@d.test\r\nFrom: a@b.test\r\nReply-From: x\r\nA: b\r\n from: x\r\n"
    assert read_author(head).domain == "b.test"


@given(st.text(alphabet='a@b.<>,:;()"\\ \t=?', max_size=60))
def test_any_value_gives_a_domain_or_a_problem(value: str) -> None:
    found = read_author(f"From: {value}\r\n".encode())
    assert bool(found.domain) is not bool(found.problem)
    assert found.problem.isascii()
    assert found.problem.isprintable()
