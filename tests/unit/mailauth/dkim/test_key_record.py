"""Key records: what can verify, what cannot, and why."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from relevo.mailauth.dkim.key_record import BadKey, is_signed_by, parse_key_record, select_key
from relevo.mailauth.dkim.private_key import KeyKind, SigningKey, key_record, make_private_key

RSA = SigningKey("d.test", "s", make_private_key(KeyKind.RSA_2048))
ED = SigningKey("d.test", "s", make_private_key(KeyKind.ED25519))
RECORD = key_record(RSA.key).encode()
PUBLIC = RECORD.partition(b"p=")[2]


def spki(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> bytes:
    return base64.b64encode(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


@pytest.mark.parametrize("key", [RSA, ED])
def test_what_a_key_signs_its_record_verifies(key: SigningKey) -> None:
    found = parse_key_record(key_record(key.key).encode()).key
    signature = key.sign(b"octets")
    assert is_signed_by(found, signature, b"octets")
    assert not is_signed_by(found, signature, b"others")
    assert not is_signed_by(found, b"", b"octets")


@pytest.mark.parametrize(
    "record",
    [
        b"p=" + PUBLIC,
        b" p = " + PUBLIC[:40] + b"\r\n\t " + PUBLIC[40:] + b" ;",
        b"v=DKIM1; g=*; s=other : EMAIL; h=sha1:sha256; n=a note; k=rsa; p=" + PUBLIC,
        b"v=DKIM1; unknown=x; p=" + PUBLIC,
    ],
)
def test_a_good_record_in_other_words(record: bytes) -> None:
    assert parse_key_record(record).bits == 2048


def test_flags() -> None:
    flagged = parse_key_record(b"v=DKIM1; t=y : s:x; p=" + PUBLIC)
    assert flagged.is_testing
    assert flagged.is_strict
    assert not parse_key_record(RECORD).is_testing


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (b"", "p= is missing"),
        (b"v=spf1 -all", "another version"),
        (b"-all", "no tag"),
        (b"v=DKIM2; p=" + PUBLIC, "another version"),
        (b"k=rsa; v=DKIM1; p=" + PUBLIC, "another version"),
        (b"v=DKIM1; p=", "revoked"),
        (b"v=DKIM1; p=%%%", "not base64"),
        (b"v=DKIM1; p=AAAA", "cannot be read"),
        (b"v=DKIM1; k=dsa; p=" + PUBLIC, "not known"),
        (b"v=DKIM1; k=ed25519; p=" + PUBLIC, "32 octets"),
        (b"v=DKIM1; s=tlsrpt; p=" + PUBLIC, "not for mail"),
        (b"v=DKIM1; h=sha1; p=" + PUBLIC, "not for SHA-256"),
        (
            b"v=DKIM1; p=" + spki(ec.generate_private_key(ec.SECP256R1()).public_key()),
            "not of its kind",
        ),
    ],
)
def test_what_cannot_verify_says_why(record: bytes, said: str) -> None:
    with pytest.raises(BadKey, match=said) as caught:
        parse_key_record(record)
    assert not caught.value.is_policy


def numbers(modulus_bits: int, exponent: int) -> bytes:
    """The record's p= of a key that nobody holds."""
    return spki(rsa.RSAPublicNumbers(exponent, (1 << modulus_bits) - 1).public_key())


@pytest.mark.parametrize(
    ("public", "said"),
    [
        (numbers(1023, 65537), "1023 bits is too short"),
        (numbers(8193, 65537), "8193 bits is too long"),
        (numbers(2048, (1 << 200) + 1), "exponent"),
    ],
)
def test_keys_that_only_we_do_not_take(public: bytes, said: str) -> None:
    with pytest.raises(BadKey, match=said) as caught:
        parse_key_record(b"v=DKIM1; p=" + public)
    assert caught.value.is_policy


def test_the_first_usable_of_several_records_is_taken() -> None:
    assert select_key((b"v=spf1 -all", RECORD)).bits == 2048
    with pytest.raises(BadKey, match="revoked"):
        select_key((b"v=DKIM1; p=", b"v=spf1 -all"))
    with pytest.raises(BadKey, match="no key"):
        select_key(())
