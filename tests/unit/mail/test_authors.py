"""From fields that are read, and those that two readers could understand differently."""

from __future__ import annotations

import pytest

from relevo.mail.authors import UnclearAuthors, authors


@pytest.mark.parametrize(
    ("field", "found"),
    [
        ("ada@example.org", ["ada@example.org"]),
        ("Ada <ada@example.org>", ["ada@example.org"]),
        ('"Ada, the first" <ada@EXAMPLE.org>', ["ada@example.org"]),
        ("Ada (of (course)) <ada@example.org> (yes)", ["ada@example.org"]),
        ("ada@example.org, Bob <bob@example.net>", ["ada@example.org", "bob@example.net"]),
        ("ada@example.org,\r\n\t<bob@example.net>", ["ada@example.org", "bob@example.net"]),
        ('"eve@x.test" <ada@example.org>', ["ada@example.org"]),
        ('"a b"@example.org', ["a b@example.org"]),
        ("<ada@bücher.example>", ["ada@bücher.example"]),
        ("=?utf-8?q?Ada?= <ada@example.org>,", ["ada@example.org"]),
    ],
)
def test_addresses_are_found(field: str, found: list[str]) -> None:
    head = f"Subject: x\r\nFrom: {field}\r\nTo: c@x.test\r\n".encode()
    assert [address.plain for address in authors(head)] == found


@pytest.mark.parametrize(
    "field",
    [
        "",
        "Ada",
        "<ada@example.org",
        "ada@example.org>",
        "<ada@example.org> eve@x.test",
        "<ada@example.org> <eve@x.test>",
        "eve@x.test ada@example.org",
        "group: ada@example.org;",
        "ada@example.org; eve@x.test",
        '(") eve@x.test, ada@example.org',
        '(") eve@x.test (") ada@example.org',
        '"eve@x.test, ada@example.org',
        "(ada@example.org",
        "eve@x.test) ada@example.org",
        "ada\\@example.org",
        "<@relay.test:ada@example.org>",
        "<ada@example.org, eve@x.test>",
        "undisclosed",
    ],
)
def test_what_is_unclear_is_said_so(field: str) -> None:
    with pytest.raises(UnclearAuthors):
        authors(f"From: {field}\r\n".encode())


def test_two_from_fields_are_unclear() -> None:
    with pytest.raises(UnclearAuthors):
        authors(b"From: ada@example.org\r\nFrom: eve@x.test\r\n")


def test_a_message_without_author_has_none() -> None:
    assert authors(b"Subject: x\r\n") == ()


def test_octets_that_are_no_text_are_unclear() -> None:
    with pytest.raises(UnclearAuthors):
        authors(b"From: \xff <ada@example.org>\r\n")


@pytest.mark.parametrize(
    "value",
    [
        "ada+@bank.test@b.test", 'ada+"x@bank.test"@b.test', '"x@bank.test" ada@b.test',
        "ada+\x00@b.test", "ada+\u2028x@b.test",
    ],
)  # fmt: skip
def test_a_local_part_that_may_end_elsewhere_is_unclear(value: str) -> None:
    with pytest.raises(UnclearAuthors):
        authors(f"From: {value}\r\n".encode())
