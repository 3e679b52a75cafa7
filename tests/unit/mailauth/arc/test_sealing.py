"""What our seal covers."""

from __future__ import annotations

import re

from relevo.mailauth.arc import NO_CHAIN, ArcOutcome, ArcResult, seal_head
from relevo.mailauth.arc.sets import read_sets, sealed_octets
from relevo.mailauth.dkim import HeaderFields, SigningKey
from relevo.mailauth.dkim.key_record import is_signed_by, parse_key_record
from relevo.mailauth.dkim.private_key import KeyKind, key_record, make_private_key
from relevo.mailauth.dkim.tags import octets_of, parse_tags

KEY = SigningKey("d.test", "s", make_private_key(KeyKind.ED25519))
HEAD = b"From: a@d.test\r\nDKIM-Signature: x\r\nMIME-Version: 1.0\r\n"


def seal(head: bytes, found: ArcResult) -> bytes:
    sets = read_sets(HeaderFields(head))
    return seal_head(
        head, bytes(32), KEY, results=b"mx.test; none", found=found, sets=sets, now=1
    )  # fmt: skip


def is_about(head: bytes, instances: slice) -> bool:
    """Whether the newest seal covers these sets and no other."""
    sets = read_sets(HeaderFields(head))
    signature = octets_of(parse_tags(sets[-1].seal.partition(b":")[2]), "b")
    octets = sealed_octets([(s.results, s.message_signature, s.seal) for s in sets[instances]])
    return is_signed_by(parse_key_record(key_record(KEY.key).encode()).key, signature, octets)


def test_a_seal_covers_all_sets() -> None:
    first = seal(HEAD, NO_CHAIN) + HEAD
    assert is_about(first, slice(None))
    second = seal(first, ArcResult(ArcOutcome.PASS)) + first
    assert is_about(second, slice(None))
    assert not is_about(second, slice(1, None))


def test_the_seal_of_a_broken_chain_is_about_itself() -> None:
    first = seal(HEAD, NO_CHAIN) + HEAD
    second = seal(first, ArcResult(ArcOutcome.FAIL)) + first
    assert is_about(second, slice(1, None))


def test_other_signatures_and_the_kind_of_content_are_signed_too() -> None:
    fields = seal(HEAD, NO_CHAIN)
    signed = re.sub(rb"\s", b"", fields.partition(b"h=")[2].partition(b";")[0])
    assert signed.startswith(b"DKIM-Signature:MIME-Version:From:")
    assert b"ARC-Seal" not in signed
