"""Verifying: each outcome, from a message that we signed ourselves and changed."""

from __future__ import annotations

import asyncio

from harness.key_records import KeyRecords
from relevo.mailauth.dkim import (
    MAX_SIGNATURES,
    DkimOutcome,
    DkimResult,
    HeaderFields,
    SigningKey,
    WantedHash,
    may_be_signed,
    sign_message,
    verify_message,
)
from relevo.mailauth.dkim.body_hash import hash_body
from relevo.mailauth.dkim.canonical import Canonicalization
from relevo.mailauth.dkim.private_key import KeyKind, key_record, make_private_key
from relevo.mailauth.dkim.signing import encoded_hash, sign_field
from relevo.mailauth.dkim.verification import CLOCK_SKEW_S

NOW = 1_700_000_000
KEY = SigningKey("d.test", "one", make_private_key(KeyKind.ED25519))
RSA = SigningKey("d.test", "two", make_private_key(KeyKind.RSA_2048))
NAME = "one._domainkey.d.test"
RECORD = key_record(KEY.key).encode()
HEAD = b"From: a@d.test\r\nSubject: x\r\n"
BODY = b"one\r\ntwo\r\n"
MESSAGE = HEAD + b"\r\n" + BODY


def signature(key: SigningKey = KEY, body: bytes = BODY, **tags: str) -> bytes:
    """A signature of HEAD with more tags, or other ones."""
    length = int(tags["l"]) if "l" in tags else None
    digest = hash_body(body, WantedHash(Canonicalization.RELAXED, length)).digest
    all_tags = {
        "v": "1", "a": key.algorithm.value, "c": "relaxed/relaxed", "d": key.domain,
        "s": key.selector, "h": "From", "bh": encoded_hash(digest), **tags,
    }  # fmt: skip
    return sign_field("DKIM-Signature", all_tags.items(), key, HeaderFields(HEAD), (b"from",))


def verified(message: bytes, keys: KeyRecords | None = None, **limits: float) -> list[DkimResult]:
    keys = keys or KeyRecords({NAME: RECORD, "two._domainkey.d.test": key_record(RSA.key).encode()})
    return [*asyncio.run(verify_message(message, keys, now=NOW, **limits))]


def only(message: bytes, keys: KeyRecords | None = None) -> tuple[str, str]:
    (result,) = verified(message, keys)
    return result.outcome.value, result.reason


def test_a_pass_tells_everything() -> None:
    raw = signature(i="a@sub.d.test")
    (result,) = verified(raw + MESSAGE)
    start = raw.rpartition(b"b=")[2][:12].decode()
    digest = hash_body(BODY, WantedHash(Canonicalization.RELAXED)).digest
    assert result == DkimResult(
        DkimOutcome.PASS, "", "d.test", "one", "a@sub.d.test", "ed25519-sha256", start, 256,
        body_hash=digest,
    )  # fmt: skip


def test_the_header_fields_that_are_named_count() -> None:
    changed = MESSAGE.replace(b"a@d.test", b"b@d.test")
    assert only(signature() + changed) == ("fail", "the header is not the one that was signed")
    assert only(signature() + MESSAGE.replace(b": x", b": y"))[0] == "pass"


def test_the_body_counts() -> None:
    assert only(signature() + MESSAGE + b"three\r\n") == (
        "fail", "the body is not the one that was signed"
    )  # fmt: skip


def test_a_length_leaves_the_rest_open_and_says_so() -> None:
    (result,) = verified(signature(l="5") + MESSAGE + b"three\r\n")
    assert result.is_pass
    assert not result.is_whole_body
    (result,) = verified(signature(l=str(len(BODY))) + MESSAGE)
    assert result.is_whole_body
    assert only(signature(l="11") + MESSAGE) == (
        "permerror", "the tag l= is larger than the body"
    )  # fmt: skip


def test_signatures_end_and_begin_in_time() -> None:
    assert only(signature(x=str(NOW - 1)) + MESSAGE) == ("policy", "the signature has expired")
    assert only(signature(x=str(NOW + 1)) + MESSAGE)[0] == "pass"
    future = NOW + CLOCK_SKEW_S
    assert only(signature(t=str(future)) + MESSAGE)[0] == "pass"
    assert only(signature(t=str(future + 1)) + MESSAGE) == (
        "policy", "the signature is of the future"
    )  # fmt: skip


def test_keys_that_are_missing_revoked_or_short() -> None:
    message = signature() + MESSAGE
    assert only(message, KeyRecords({})) == ("permerror", "no key for the signature")
    assert only(message, KeyRecords({NAME: b"v=DKIM1; p="})) == ("permerror", "the key is revoked")


def test_a_key_of_the_other_kind() -> None:
    keys = KeyRecords({NAME: key_record(RSA.key).encode()})
    assert only(signature() + MESSAGE, keys) == (
        "permerror", "the key is not of the signature's algorithm"
    )  # fmt: skip


def test_a_strict_key_is_for_no_subdomain() -> None:
    keys = KeyRecords({NAME: RECORD.replace(b"; p=", b"; t=s; p=")})
    assert only(signature(i="@sub.d.test") + MESSAGE, keys)[0] == "permerror"
    assert only(signature(i="x@d.test") + MESSAGE, keys)[0] == "pass"


def test_a_domain_that_tests_is_named() -> None:
    keys = KeyRecords({NAME: RECORD.replace(b"; p=", b"; t=y; p=")})
    (result,) = verified(signature() + MESSAGE, keys)
    assert result.is_pass
    assert result.is_testing


def test_dns_that_does_not_know_now_is_temporary() -> None:
    keys = KeyRecords({NAME: RECORD}, unknown=frozenset({NAME}))
    outcome, reason = only(signature() + MESSAGE, keys)
    assert outcome == "temperror"
    assert "server" not in reason


class Stuck(KeyRecords):
    """Answers never."""

    async def txt(self, name: str) -> object:  # type: ignore[override]  # it never returns one
        await asyncio.Event().wait()
        raise AssertionError


def test_dns_that_is_silent_is_waited_for_only_so_long() -> None:
    (result,) = verified(signature() + MESSAGE, Stuck({}), timeout_s=0.02)
    assert result.outcome is DkimOutcome.TEMPERROR


def test_keys_of_several_signatures_are_asked_for_once_each() -> None:
    keys = KeyRecords({NAME: RECORD})
    results = verified(signature() * 2 + signature(RSA) + MESSAGE, keys)
    assert sorted(keys.asked) == [NAME, "two._domainkey.d.test"]
    assert [result.outcome.value for result in results] == ["pass", "pass", "permerror"]


def test_only_the_first_signatures_are_looked_at() -> None:
    bad = b"DKIM-Signature: nonsense\r\n"
    results = verified(bad * (MAX_SIGNATURES - 1) + signature() * 2 + MESSAGE)
    assert [result.is_pass for result in results] == [False] * (MAX_SIGNATURES - 1) + [True]


def test_a_malformed_field_is_a_permerror() -> None:
    (result,) = verified(signature().replace(b"v=1", b"v=3") + MESSAGE)
    assert (result.outcome, result.domain) == (DkimOutcome.PERMERROR, "d.test")


def test_unsigned_mail_has_no_results() -> None:
    assert verified(MESSAGE) == []
    assert not may_be_signed(HEAD)
    assert may_be_signed(b"dkim-SIGNATURE: x\r\n")


def test_a_head_that_is_too_long_is_not_looked_at() -> None:
    (result,) = verified(b"a:\r\n" * 5000 + signature() + MESSAGE)
    assert result.outcome is DkimOutcome.POLICY


def test_every_key_signs_and_a_field_that_is_added_breaks_it() -> None:
    both = sign_message(MESSAGE, [KEY, RSA], now=NOW)
    assert [result.is_pass for result in verified(both + MESSAGE)] == [True, True]
    for added in (b"From: b@d.test", b"Subject: y", b"To: c@d.test", b"Date: now"):
        for forged in (added + b"\r\n" + MESSAGE, HEAD + added + b"\r\n\r\n" + BODY):
            assert not any(result.is_pass for result in verified(both + forged)), added
