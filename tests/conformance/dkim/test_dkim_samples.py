"""DKIM against messages that others signed, and against dkimpy with the messages of its tests."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import dkim
import pytest

from conformance.dkim.messages import (
    DKIMPY,
    FOLDER,
    all_keys,
    dkimpy_message,
    dkimpy_record,
    message,
)
from harness.key_records import KeyRecords
from relevo.mailauth.dkim import DkimOutcome, DkimResult, SigningKey, sign_message, verify_message
from relevo.mailauth.dkim.private_key import read_private_key

NOW = 1_700_000_000
LATER = 4_000_000_000  # whatever the clock says to dkimpy
FORMS = [(header, body) for header in (b"simple", b"relaxed") for body in (b"simple", b"relaxed")]
SIGNABLE = ["test.message", "rfc6376.msg", "rfc6376.w1258.msg", "message.mbox"]
TEST_KEY = (DKIMPY / "test.private").read_bytes()


def verified(octets: bytes, keys: KeyRecords | None = None) -> tuple[DkimResult, ...]:
    return asyncio.run(verify_message(octets, keys or all_keys(), now=LATER))


def keys_with(record: bytes) -> KeyRecords:
    return KeyRecords({"test._domainkey.example.com": record})


def signed_by_dkimpy(
    octets: bytes, form: Sequence[bytes] = (b"relaxed", b"simple"), *, length: bool = False
) -> bytes:
    signature: bytes = dkim.sign(
        octets, b"test", b"example.com", TEST_KEY, canonicalize=tuple(form), length=length
    )
    return signature + octets


@pytest.mark.parametrize("name", ["rfc6376.eml", "rfc8463.eml"])
def test_the_samples_of_the_rfcs_verify(name: str) -> None:
    results = verified(message(FOLDER / name))
    assert results
    assert all(result.is_pass for result in results), results


@pytest.mark.parametrize(
    ("name", "outcomes"),
    [
        ("ed25519test2.msg", ["pass"]),  # of Exim
        ("rfc6376.signed.msg", ["pass", "pass"]),
        ("rfc6376.signed.rsa.msg", ["pass"]),
        ("test2.message", ["pass"]),  # folded within every tag
        ("rfc6376.signed.no_t.msg", ["fail"]),
        ("test.message.baddomain", ["permerror"]),
        ("rfc6376.msg", []),
    ],
)
def test_messages_of_dkimpy(name: str, outcomes: list[str]) -> None:
    assert [result.outcome.value for result in verified(dkimpy_message(name))] == outcomes


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", SIGNABLE)
def test_what_dkimpy_signs_verifies(name: str, form: tuple[bytes, bytes]) -> None:
    (result, *_) = verified(signed_by_dkimpy(dkimpy_message(name), form))
    assert result.is_pass, result.reason


@pytest.mark.parametrize("name", SIGNABLE)
def test_what_we_sign_verifies_in_dkimpy(name: str) -> None:
    octets = dkimpy_message(name)
    key = SigningKey("example.com", "test", read_private_key(TEST_KEY))
    signed = sign_message(octets, [key], now=NOW) + octets
    # dkimpy refuses fields that are not ASCII; ours is the first of the message's
    if name != "rfc6376.w1258.msg":
        assert dkim.verify(signed, dnsfunc=all_keys().for_dkimpy)
    assert verified(signed)[0].is_pass


@pytest.mark.parametrize(
    ("record", "outcome"),
    [
        ("test.txt", "pass"),
        ("test2.txt", "pass"),  # without k=
        ("test_bad.txt", "permerror"),
        ("test_tlsrpt.txt", "permerror"),  # not for mail
        ("badversion.txt", "permerror"),
        ("badk.txt", "permerror"),
    ],
)
def test_key_records_of_dkimpy(record: str, outcome: str) -> None:
    keys = keys_with(dkimpy_record(record))
    (result,) = verified(signed_by_dkimpy(dkimpy_message("test.message")), keys)
    assert result.outcome.value == outcome, result.reason


@pytest.mark.parametrize("bits", [1024, 2048])
@pytest.mark.parametrize("form", [".pub.rsa.txt", ".pub.txt"])
def test_both_forms_of_rsa_keys(bits: int, form: str) -> None:
    """RFC 6376 names SubjectPublicKeyInfo in one place and RSAPublicKey in another."""
    octets = dkimpy_message("test.message")
    private = (DKIMPY / f"{bits}_testkey.key").read_bytes()
    signature = dkim.sign(octets, b"test", b"example.com", private)
    record = dkimpy_record(f"{bits}_testkey_wo_markers{form}")
    (result,) = verified(signature + octets, keys_with(record))
    assert result.is_pass, result.reason
    assert result.key_bits == bits


@pytest.mark.parametrize("form", FORMS)
def test_text_behind_the_signed_length(form: tuple[bytes, bytes]) -> None:
    signed = signed_by_dkimpy(dkimpy_message("test.message"), form, length=True)
    (result,) = verified(signed + b"added more text\r\n")
    assert result.is_pass
    assert not result.is_whole_body


def test_a_changed_body_fails() -> None:
    (result,) = verified(signed_by_dkimpy(dkimpy_message("test.message")) + b"foo\r\n")
    assert result.outcome is DkimOutcome.FAIL


def test_a_second_author_fails_wherever_it_stands() -> None:
    evil = b'From: "Resident Evil" <sales@spammer.test>\r\n'
    signed = signed_by_dkimpy(dkimpy_message("test.message"))
    head, _, body = signed.partition(b"\r\n\r\n")
    for forged in (evil + signed, head + b"\r\n" + evil + b"\r\n" + body):
        assert [result.outcome for result in verified(forged)] == [DkimOutcome.FAIL]
    harmless = head + b"\r\nX-Foo: bar\r\n\r\n" + body
    assert verified(harmless)[0].is_pass


def test_the_author_is_always_signed() -> None:
    octets = dkimpy_message("test.message")
    key = SigningKey("example.com", "test", read_private_key(TEST_KEY))
    without = sign_message(octets, [key], now=NOW).replace(b"From:", b"Form:")
    (result,) = verified(without + octets)
    assert (result.outcome, result.reason) == (
        DkimOutcome.PERMERROR, "the From field is not signed"
    )  # fmt: skip
