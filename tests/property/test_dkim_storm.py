"""Very many mutated signatures, key records and chains: no exception, no hang, no growth.

Plain chance instead of hypothesis, so that a million of them take about a minute (`make fuzz`);
ordinary runs try a few thousand.
"""

from __future__ import annotations

import random
import resource
from collections.abc import Callable
from contextlib import suppress

import hypothesis

from relevo.mailauth.arc.sets import BrokenChain, read_sets
from relevo.mailauth.dkim import HeaderFields, SigningKey, TooManyFields, sign_message
from relevo.mailauth.dkim.key_record import BadKey, parse_key_record
from relevo.mailauth.dkim.private_key import KeyKind, key_record, make_private_key
from relevo.mailauth.dkim.signature import claims_of, parse_signature
from relevo.mailauth.dkim.tags import BadTags

TRIES = 350_000 if hypothesis.settings().max_examples >= 1000 else 2_000
MOST_GROWTH = 64 * 1024  # KiB
SEED = 6376

KEY = SigningKey("example.org", "one", make_private_key(KeyKind.RSA_2048))
MESSAGE = b"From: a@example.org\r\nSubject: x\r\n\r\nbody\r\n"
SIGNATURE = sign_message(MESSAGE, [KEY], now=1).removesuffix(b"\r\n")
RECORD = b"v=DKIM1; s=email; t=y:s; n=note; h=sha256; " + key_record(KEY.key).encode().removeprefix(
    b"v=DKIM1; "
)
CHAIN = b"".join(
    b"ARC-Authentication-Results: i=%d; mx; spf=pass\r\n"
    b"ARC-Message-Signature:%b; i=%d\r\nARC-Seal: i=%d; a=rsa-sha256; cv=%b; d=a.b; s=c; b=AAAA\r\n"
    % (i, SIGNATURE.partition(b":")[2].replace(b"v=1;", b""), i, i, b"pass" if i > 1 else b"none")
    for i in (1, 2, 3)
)
PIECES = [
    b"", b";", b"=", b"; ;", b";a=", b"d=xn--;", b"i=a@", b"l=", b"9" * 80, b"x=1", b"h=:",
    b"h=From", b"\r\n", b"\r\n ", b" ", b"\t", b"\0", b"\xff\xfe", b"c=relaxed/", b"v=DKIM1;",
    b"p=;", b"k=ed25519;", b"t=y:s;", b"bh=", b"b=", b"ARC-Seal: i=51;", b"i=0;", b"cv=fail;",
    b":", b"=" * 40, b"A" * 400,
]  # fmt: skip


def mutated(octets: bytes, chance: random.Random) -> bytes:
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(octets) + 1)
        piece = chance.choice(PIECES) if chance.random() < 0.7 else chance.randbytes(3)
        octets = octets[:at] + piece + octets[at + chance.choice((0, 0, 1, 3, 30)) :]
    return octets


def storm(octets: bytes, take: Callable[[bytes], object]) -> None:
    """Hand many mutations to a reader; anything it raises but its own refusals comes through."""
    chance = random.Random(SEED)
    for _ in range(min(TRIES, 1000)):  # what is cached is there before the growth is measured
        take(mutated(octets, chance))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(TRIES):
        take(mutated(octets, chance))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_GROWTH


def test_signatures() -> None:
    def take(raw: bytes) -> None:
        with suppress(BadTags):
            parse_signature(raw)
        claims_of(raw)

    storm(SIGNATURE, take)


def test_key_records() -> None:
    def take(record: bytes) -> None:
        with suppress(BadKey):
            parse_key_record(record)

    storm(RECORD, take)


def test_chains() -> None:
    def take(head: bytes) -> None:
        with suppress(BrokenChain, TooManyFields):
            read_sets(HeaderFields(head))

    storm(CHAIN, take)


def test_what_is_mutated_is_good() -> None:
    parse_signature(SIGNATURE)
    assert parse_key_record(RECORD).bits == 2048
    assert len(read_sets(HeaderFields(CHAIN))) == 3
