"""Laws of DKIM and ARC: dkimpy agrees, cutting a body changes nothing, no input raises."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable
from contextlib import suppress
from typing import TypeVar

import dkim
from dkim.canonicalization import CanonicalizationPolicy
from hypothesis import example, given
from hypothesis import strategies as st

from harness.key_records import KeyRecords
from relevo.mailauth.arc import (
    NO_CHAIN,
    ArcOutcome,
    ArcResult,
    ArcValidation,
    seal_head,
    validate_message,
)
from relevo.mailauth.dkim import (
    RELAXED_BODY,
    BodyHashes,
    DkimOutcome,
    HeaderFields,
    SigningKey,
    WantedHash,
    sign_message,
    verify_message,
)
from relevo.mailauth.dkim.author import author_domain
from relevo.mailauth.dkim.canonical import Canonicalization
from relevo.mailauth.dkim.key_record import BadKey, parse_key_record
from relevo.mailauth.dkim.private_key import KeyKind, key_record, make_private_key
from relevo.mailauth.dkim.tags import BadTags, parse_tags

T = TypeVar("T")
NOW = 1_700_000_000
KEY = SigningKey("example.org", "one", make_private_key(KeyKind.ED25519))
RSA = SigningKey("example.org", "two", make_private_key(KeyKind.RSA_2048))
KEYS = KeyRecords(
    {f"{key.selector}._domainkey.example.org": key_record(key.key).encode() for key in (KEY, RSA)}
)
HEAD = b"From: Ada <ada@example.org>\r\nTo: bob@example.net\r\nSubject: a  b\r\n\tc\r\n"
MESSAGE = HEAD + b"\r\nHello  there\t\r\n\r\n bye \r\n"
FOREIGN = dkim.sign(
    MESSAGE, b"one", b"example.org", b"nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=",
    signature_algorithm=b"ed25519-sha256", canonicalize=(b"simple", b"simple"), length=True,
)  # fmt: skip

lines = st.lists(st.sampled_from([b" ", b"\t", b"\r\n", b"a", b"bc.", b"\r\n\r\n", b"\xff"]))
bodies = lines.map(lambda pieces: b"".join([*pieces, b"\r\n"]))
raw_bodies = st.lists(st.sampled_from([b" ", b"\t", b"\r\n", b"\r", b"\n", b"a"])).map(b"".join)
names = st.sampled_from([b"From", b"to", b"SUBJECT", b"X-a", b"Date", b"received"])
values = st.text(st.characters(codec="ascii", exclude_categories=["C"])).map(str.encode)
folds = st.sampled_from([b"", b" ", b"\t ", b"\r\n ", b" \r\n\t"])
fields = st.builds(lambda n, f, v, g, w: n + b":" + f + v + g + w + b"\r\n",
                   names, folds, values, folds, values)  # fmt: skip


def run(work: Awaitable[T]) -> T:
    async def main() -> T:
        return await work

    return asyncio.run(main())


def signed() -> bytes:
    return sign_message(MESSAGE, [KEY, RSA], now=NOW) + MESSAGE


def sealed() -> bytes:
    head, _, body = MESSAGE.partition(b"\r\n\r\n")
    head += b"\r\n"
    found: ArcResult = NO_CHAIN
    for _ in range(3):
        validation = ArcValidation(HeaderFields(head))
        hashes = BodyHashes({RELAXED_BODY, *validation.wanted})
        hashes.add(body)
        found = run(validation.result(hashes, KEYS))
        digest = hashes.get(RELAXED_BODY).digest
        fields_of = seal_head(
            head, digest, RSA, results=b"mx; spf=pass", found=found, sets=validation.sets, now=NOW
        )
        head = fields_of + head
    return head + b"\r\n" + body


SIGNED, SEALED = signed(), sealed()


@given(bodies, st.lists(st.integers(1, 9), min_size=1), st.integers(0, 12))
def test_canonical_bodies_are_those_of_dkimpy(body: bytes, cuts: list[int], length: int) -> None:
    for form, name in (
        (Canonicalization.SIMPLE, b"simple"),
        (Canonicalization.RELAXED, b"relaxed"),
    ):
        canonical = CanonicalizationPolicy.from_c_value(name + b"/" + name).canonicalize_body(body)
        whole, part = WantedHash(form), WantedHash(form, length)
        hashes = BodyHashes((whole, part))
        feed(hashes, body, cuts)
        assert hashes.get(whole).digest == hashlib.sha256(canonical).digest()
        assert hashes.get(whole).size == len(canonical)
        assert hashes.get(part).digest == hashlib.sha256(canonical[:length]).digest()


@given(raw_bodies, st.lists(st.integers(1, 9), min_size=1))
def test_cutting_a_body_changes_nothing_whatever_its_line_ends(
    body: bytes, cuts: list[int]
) -> None:
    wanted = [WantedHash(form) for form in Canonicalization]
    at_once, in_pieces = BodyHashes(wanted), BodyHashes(wanted)
    at_once.add(body)
    feed(in_pieces, body, cuts)
    for want in wanted:
        assert at_once.get(want) == in_pieces.get(want)


def feed(hashes: BodyHashes, body: bytes, cuts: list[int]) -> None:
    """In pieces of these sizes, again and again."""
    position, number = 0, 0
    while position < len(body):
        step = cuts[number % len(cuts)]
        hashes.add(body[position : position + step])
        position, number = position + step, number + 1


@given(st.lists(fields), bodies)
def test_what_we_sign_verifies_in_dkimpy_and_here(others: list[bytes], body: bytes) -> None:
    message = b"".join([b"From: ada@example.org\r\n", *others]) + b"\r\n" + body
    octets = sign_message(message, [KEY, RSA], now=NOW) + message
    assert all(result.is_pass for result in run(verify_message(octets, KEYS, now=NOW)))
    judge = dkim.DKIM(octets)
    assert judge.verify(0, dnsfunc=KEYS.for_dkimpy)
    assert judge.verify(1, dnsfunc=KEYS.for_dkimpy)


@given(st.data(), st.sampled_from([SIGNED, SEALED, FOREIGN + MESSAGE]))
def test_a_mutated_message_never_raises(data: st.DataObject, octets: bytes) -> None:
    changed = mutated(data, octets)
    for result in run(verify_message(changed, KEYS, now=NOW)):
        assert result.reason.isascii()
        assert result.reason.isprintable()
        assert len(result.reason) <= 200
    chain = run(validate_message(changed, KEYS))
    assert chain.reason.isascii()
    author_domain(changed.partition(b"\r\n\r\n")[0])


def mutated(data: st.DataObject, octets: bytes) -> bytes:
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(octets)))
        length = data.draw(st.integers(0, 20))
        piece = data.draw(
            st.binary(max_size=12)
            | st.sampled_from([b"\r\n", b"\r\n ", b";", b"=", b";b=", b"l=99;", b"i=1;", b"h=:",
                               b"DKIM-Signature: ", b"ARC-Seal: ", b"i=51; ", b"\xff\xfe"])
        )  # fmt: skip
        octets = octets[:at] + piece + octets[at + length :]
    return octets


@given(st.binary(max_size=300))
@example(b"v=DKIM1; p=" + b"A" * 20000)
@example(b"=;" * 200)
def test_any_octets_are_a_key_or_a_refusal(record: bytes) -> None:
    for octets in (record, b"v=DKIM1; " + record, key_record(KEY.key).encode() + record):
        with suppress(BadKey):
            parse_key_record(octets)
        with suppress(BadTags):
            parse_tags(octets)


@given(st.data())
def test_a_mutated_key_record_never_raises(data: st.DataObject) -> None:
    record = mutated(data, key_record(RSA.key).encode())
    keys = KeyRecords({"two._domainkey.example.org": record})
    (_, result) = run(verify_message(SIGNED, keys, now=NOW))
    assert result.outcome in {DkimOutcome.PASS, DkimOutcome.FAIL, DkimOutcome.POLICY,
                              DkimOutcome.PERMERROR}  # fmt: skip


def test_the_messages_that_are_mutated_are_good() -> None:
    assert all(result.is_pass for result in run(verify_message(SIGNED, KEYS, now=NOW)))
    assert run(validate_message(SEALED, KEYS)).outcome is ArcOutcome.PASS
