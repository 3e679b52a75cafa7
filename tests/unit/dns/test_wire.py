"""Replies as octets: whatever they are, they are read, refused or ignored."""

from __future__ import annotations

import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.dns import MailExchange, Outcome, TlsaRecord
from relevo.dns.wire import Question, RecordType, Reply, ReplyKind, make_query, read_reply
from unit.dns.stub_server import reply_to

RECORDS = {
    RecordType.A: "x.test. 5 IN A 192.0.2.1",
    RecordType.AAAA: "x.test. 5 IN AAAA 2001:db8::1",
    RecordType.MX: "x.test. 5 IN MX 10 mx.test.",
    RecordType.PTR: "x.test. 5 IN PTR host.test.",
    RecordType.SOA: "x.test. 5 IN SOA ns.test. admin.test. 1 2 3 4 60",
    RecordType.CNAME: "x.test. 5 IN CNAME y.test.",
    RecordType.DNSKEY: "x.test. 5 IN DNSKEY 257 3 13 aaaa",
    RecordType.DS: "x.test. 5 IN DS 1 13 2 " + "00" * 32,
    RecordType.TLSA: "x.test. 5 IN TLSA 3 1 0 00ff",
    RecordType.TXT: 'x.test. 5 IN TXT "v=spf1" " -all"',
}


def read(record_type: RecordType, *records: str) -> Reply:
    question = Question("x.test", record_type)
    query = make_query(question, 4711)
    wire = reply_to(dns.message.from_wire(query.wire), *records).to_wire()
    reply = read_reply(query, question, wire, is_trusted=False)
    assert reply is not None
    return reply


def test_a_question_asks_for_recursion_and_allows_short_datagrams() -> None:
    message = dns.message.from_wire(make_query(Question("x.test", RecordType.MX), 7).wire)
    assert message.id == 7
    assert dns.flags.to_text(message.flags) == "RD AD"
    assert message.payload == 1232
    assert str(message.question[0]) == "x.test. IN MX"


def test_octets_of_names_are_not_escapes() -> None:
    message = dns.message.from_wire(make_query(Question(r"a\046b.test", RecordType.A), 7).wire)
    assert message.question[0].name.labels[0] == rb"a\046b"


@pytest.mark.parametrize(
    ("record_type", "record", "expected"),
    [
        (RecordType.MX, r"x.test. 5 IN MX 10 mx.test.", (MailExchange(10, "mx.test"),)),
        (RecordType.MX, r"x.test. 5 IN MX 0 .", (MailExchange(0, ""),)),
        (RecordType.MX, r"x.test. 5 IN MX 10 bad\032blank.test.", ()),
        (RecordType.PTR, r"x.test. 5 IN PTR evil\.host.test.", ()),
        (RecordType.PTR, r"x.test. 5 IN PTR \195\188.test.", ()),
        (RecordType.PTR, r"x.test. 5 IN PTR a\010b.test.", ()),
        (RecordType.TXT, r'x.test. 5 IN TXT "\255\000" "" "x"', (b"\xff\x00x",)),
        (RecordType.TLSA, "x.test. 5 IN TLSA 3 1 0 00ff", (TlsaRecord(3, 1, 0, b"\x00\xff"),)),
    ],
)
def test_records_become_values(
    record_type: RecordType, record: str, expected: tuple[object, ...]
) -> None:
    answer = read(record_type, record).answer
    assert answer is not None
    assert answer.records == expected
    assert answer.outcome is (Outcome.FOUND if expected else Outcome.NO_RECORDS)


def test_a_chain_of_aliases_without_end_is_no_answer() -> None:
    loop = ("x.test. 5 IN CNAME y.test.", "y.test. 5 IN CNAME x.test.")
    assert read(RecordType.A, *loop).kind is ReplyKind.REFUSED


@pytest.mark.parametrize("flags", [b"\x80\x00", b"\x82\x00"], ids=["whole", "truncated"])
def test_unreadable_octets_of_another_id_are_passed_over(flags: bytes) -> None:
    question = Question("x.test", RecordType.A)
    query = make_query(question, 4711)
    damaged = flags + query.wire[4:-3]
    own = read_reply(query, question, query.wire[:2] + damaged, is_trusted=False)
    assert own is not None
    assert own.kind in {ReplyKind.REFUSED, ReplyKind.TRUNCATED}
    assert read_reply(query, question, b"\x00\x01" + damaged, is_trusted=False) is None


@given(
    st.sampled_from(RecordType),
    st.lists(st.tuples(st.integers(2, 200), st.integers(0, 255)), max_size=12),
    st.integers(0, 200),
)
def test_damaged_octets_never_break_anything(
    record_type: RecordType, changes: list[tuple[int, int]], length: int
) -> None:
    question = Question("x.test", record_type)
    query = make_query(question, 4711)
    wire = bytearray(
        reply_to(dns.message.from_wire(query.wire), RECORDS[record_type]).to_wire()[: 12 + length]
    )
    for at, octet in changes:
        if at < len(wire):
            wire[at] = octet
    read_reply(query, question, bytes(wire), is_trusted=True)


@given(st.sampled_from(RecordType), st.binary(max_size=300))
def test_any_octets_never_break_anything(record_type: RecordType, octets: bytes) -> None:
    question = Question("x.test", record_type)
    query = make_query(question, 4711)
    read_reply(query, question, octets, is_trusted=True)
    read_reply(query, question, query.wire[:2] + b"\x80" + octets, is_trusted=True)
