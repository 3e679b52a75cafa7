"""Validating and sealing together: chains that we made, whole, changed and cut."""

from __future__ import annotations

import asyncio

import pytest

from harness.key_records import KeyRecords
from relevo.mailauth.arc import (
    ArcResult,
    ArcValidation,
    may_be_sealed,
    may_have_chain,
    seal_head,
    validate_message,
)
from relevo.mailauth.dkim import RELAXED_BODY, BodyHashes, HeaderFields, SigningKey
from relevo.mailauth.dkim.body_hash import hash_body
from relevo.mailauth.dkim.private_key import KeyKind, key_record, make_private_key

NOW = 1_700_000_000
KEYS = [
    SigningKey("a.test", "s", make_private_key(KeyKind.RSA_2048)),
    SigningKey("b.test", "s", make_private_key(KeyKind.ED25519)),
]
RECORDS = {f"s._domainkey.{key.domain}": key_record(key.key).encode() for key in KEYS}
MESSAGE = b"From: x@d.test\r\nSubject: y\r\n\r\nbody\r\n"


def state(message: bytes, keys: KeyRecords | None = None) -> ArcResult:
    return asyncio.run(validate_message(message, keys or KeyRecords(RECORDS)))


def sealed(message: bytes, key: SigningKey, *, footer: bytes = b"") -> bytes:
    """The message with one more link, as a list would hand it on that adds a footer."""
    head, _, body = message.partition(b"\r\n\r\n")
    validation = ArcValidation(HeaderFields(head + b"\r\n"))
    hashes = BodyHashes(validation.wanted)
    hashes.add(body)
    found = asyncio.run(validation.result(hashes, KeyRecords(RECORDS)))
    digest = hash_body(body + footer, RELAXED_BODY).digest
    fields = seal_head(
        head + b"\r\n", digest, key,
        results=b" mx.test;\r\n\tspf=pass\r\n", found=found, sets=validation.sets, now=NOW,
    )  # fmt: skip
    return fields + message + footer


def long_chain(length: int) -> bytes:
    message = MESSAGE
    for number in range(length):
        message = sealed(message, KEYS[number % 2])
    return message


def test_a_chain_tells_who_found_what() -> None:
    result = state(long_chain(3))
    assert result.is_pass, result.reason
    assert [(link.instance, link.domain) for link in result.links] == [
        (1, "a.test"), (2, "b.test"), (3, "a.test")
    ]  # fmt: skip
    assert result.links[0].results == b"mx.test;\r\n\tspf=pass"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"body", b"bogus", "ARC-Message-Signature i=2: the body"),
        (b"Subject: y", b"Subject: z", "ARC-Message-Signature i=2: the header"),
        (b"i=2; mx.test", b"i=2; mx.evil", "ARC-Seal i=2"),
        (b"i=1; mx.test", b"i=1; mx.evil", "ARC-Seal i=2"),
    ],
)
def test_what_was_changed_breaks_it(old: bytes, new: bytes, said: str) -> None:
    result = state(long_chain(2).replace(old, new))
    assert not result.is_pass
    assert said in result.reason


def test_an_older_message_signature_may_be_broken() -> None:
    """That is what the chain is for: a list changes the message, and seals what it found before."""
    listed = sealed(long_chain(1), KEYS[1], footer=b"-- \r\na list\r\n")
    assert state(listed).is_pass
    assert state(sealed(listed, KEYS[0])).is_pass


def test_a_broken_chain_is_closed_by_a_seal_about_itself() -> None:
    closed = sealed(long_chain(2).replace(b"body", b"bogus"), KEYS[0])
    assert b"ARC-Seal: i=3; a=rsa-sha256; cv=fail;" in closed
    result = state(closed)
    assert result.is_closed
    assert not may_be_sealed(result)


def test_dns_that_does_not_know_now_is_no_verdict() -> None:
    result = state(long_chain(1), KeyRecords(RECORDS, unknown=frozenset({"s._domainkey.a.test"})))
    assert result.is_temporary
    assert not may_be_sealed(result)


def test_fifty_links_are_a_chain_and_nothing_is_added() -> None:
    chain = long_chain(50)
    result = state(chain)
    assert result.is_pass, result.reason
    assert not may_be_sealed(result)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"ARC-Seal: x\r\n", True),
        (b"A: b\r\narc-seal: x\r\n", True),
        (b"A: b\r\n", False),
        (b"", False),
    ],
)
def test_one_search_tells_whether_to_look(head: bytes, expected: bool) -> None:
    assert may_have_chain(head) is expected
