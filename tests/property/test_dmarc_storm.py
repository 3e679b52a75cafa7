"""Very many mutated DMARC records, From fields and reports: no exception, no hang, no growth.

As `test_dkim_storm`: plain chance, a million of them together with `make fuzz`.
"""

from __future__ import annotations

import random
import resource
from collections.abc import Callable
from contextlib import suppress

import hypothesis
import pytest

from property.parsers import REPORT
from relevo.mailauth.dmarc import parse_record, read_author
from relevo.mailauth.dmarc.report_reading import BadReport, read_report

TRIES = 350_000 if hypothesis.settings().max_examples >= 1000 else 2_000
MOST_GROWTH = 64 * 1024  # KiB
SEED = 9989

RECORD = b"v=DMARC1; p=reject; sp=none; np=quarantine; adkim=s; psd=n; t=y; rua=mailto:a@b.test!1m"
HEAD = b'From: "A, B" (c (d)) <a@b.test>, =?utf-8?q?x?= <c@b.test>\r\n\tx\r\nTo: a@b\r\n'
PIECES = [
    b"",
    b";",
    b"=",
    b"; ;",
    b"p=",
    b"p=none;",
    b"rua=mailto:",
    b",",
    b"\r\n",
    b"\r\n ",
    b"\r\nFrom:",
    b"\r\n\xa0From:",
    b" ",
    b"\t",
    b"\0",
    b"\xff\xfe",
    b"<",
    b">",
    b"<<",
    b"@",
    b"@@",
    b"(",
    b")",
    b"((((((",
    b'"',
    b"\\",
    b":",
    b"=?x?b?",
    b"[1.2.3.4]",
    b"xn--",
    b"." * 70,
    b"A" * 400,
    b"<record>",
    b"</record>",
    b"<!DOCTYPE a>",
    b"&amp;",
    b"&a;",
    b"<row>" * 20,
    b"9" * 40,
    b"<![CDATA[",
]


def read_as_report(octets: bytes) -> None:
    with suppress(BadReport):
        read_report(octets)


@pytest.mark.parametrize(
    ("parse", "sample"),
    [(parse_record, RECORD), (read_author, HEAD), (read_as_report, REPORT)],
    ids=["record", "author", "report"],
)
def test_whatever_comes_gives_a_result(parse: Callable[[bytes], object], sample: bytes) -> None:
    chance = random.Random(SEED)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(TRIES):
        octets = sample
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(octets) + 1)
            piece = chance.choice(PIECES) if chance.random() < 0.7 else chance.randbytes(3)
            octets = octets[:at] + piece + octets[at + chance.choice((0, 0, 1, 5)) :]
        parse(octets)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_GROWTH
