"""Questions and answers as octets (RFC 1035 §4, EDNS: RFC 6891); the octets of messages.

An answer is attacker input. It counts only when its id, its question and its flags are those of
the question; of its records only those count that the question, followed through CNAMEs, leads to.
Whatever the octets are, `read_reply` returns a Reply or None.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from ipaddress import IPv4Address, IPv6Address
from typing import Any, NamedTuple

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype

from relevo.dns.answers import Answer, MailExchange, Outcome, Record, TlsaRecord

UDP_PAYLOAD = 1232  # RFC 9715: what passes without fragments
_HEADER = struct.Struct("!HH")
_QR = 0x8000
_TC = 0x0200


class RecordType(IntEnum):
    """Types that are asked for; the values are those of the wire."""

    A = 1
    CNAME = 5
    SOA = 6
    PTR = 12
    MX = 15
    TXT = 16
    AAAA = 28
    DS = 43
    DNSKEY = 48
    TLSA = 52


class Question(NamedTuple):  # as its hash is made for every look-up
    """A name in the form of `relevo.dns.names.ask_name`, or "" for the root, and a type."""

    name: str
    type: RecordType

    def __str__(self) -> str:
        return f"{self.type.name} of {self.name or 'the root'}"


class ReplyKind(Enum):
    """What to do about a reply."""

    ANSWER = auto()
    TRUNCATED = auto()  # ask again over TCP
    NO_EDNS = auto()  # ask again without EDNS (RFC 6891 §7)
    REFUSED = auto()  # ask another server; `problem` tells why


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's reply to our question; `answer` stands with ANSWER, `problem` with REFUSED."""

    kind: ReplyKind
    answer: Answer[Any] | None = None
    problem: str = ""
    message: dns.message.Message | None = None  # with ANSWER: all of it


@dataclass(frozen=True, slots=True)
class Query:
    """A question as it is sent, and what its reply is recognized by."""

    id: int
    wire: bytes
    message: dns.message.Message


def make_query(
    question: Question, query_id: int, *, has_edns: bool = True, validates: bool = False
) -> Query:
    """The octets of a question; `query_id` must be unpredictable (RFC 5452 §9.2).

    `validates`: signatures are wanted, and what the server thinks of them is not.
    """
    message = dns.message.QueryMessage(id=query_id)
    # AD in a question asks for AD in the answer, without the signatures (RFC 6840 §5.7)
    message.flags = dns.flags.RD | (dns.flags.CD if validates else dns.flags.AD)
    message.find_rrset(
        message.question,
        wire_name(question.name),
        dns.rdataclass.IN,
        dns.rdatatype.RdataType(question.type.value),
        create=True,
        force_unique=True,
    )
    if has_edns:
        flags = dns.flags.DO if validates else 0
        message.use_edns(0, ednsflags=flags, payload=UDP_PAYLOAD)
    return Query(query_id, message.to_wire(), message)


def read_reply(query: Query, question: Question, wire: bytes, *, is_trusted: bool) -> Reply | None:
    """What `wire` says to `query`; None when it is not an answer to it and is to be ignored.

    `is_trusted`: the server may vouch by the AD flag.
    """
    if len(wire) < 12:
        return None
    reply_id, flags = _HEADER.unpack_from(wire)
    if reply_id != query.id or not flags & _QR:
        return None
    try:
        message = dns.message.from_wire(wire, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError) as error:
        if flags & _TC:
            return Reply(ReplyKind.TRUNCATED)
        return Reply(ReplyKind.REFUSED, problem=f"an unreadable answer ({type(error).__name__})")
    if not query.message.is_response(message):
        return None
    if flags & _TC:
        return Reply(ReplyKind.TRUNCATED)
    rcode = message.rcode()
    if rcode in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN} and message.question:
        return _read_answer(message, question, is_trusted=is_trusted)
    if rcode in {dns.rcode.FORMERR, dns.rcode.NOTIMP} and query.message.edns >= 0:
        return Reply(ReplyKind.NO_EDNS)
    return Reply(ReplyKind.REFUSED, problem=dns.rcode.to_text(rcode))


def _read_answer(message: dns.message.Message, question: Question, *, is_trusted: bool) -> Reply:
    assert isinstance(message, dns.message.QueryMessage)
    try:
        result = message.resolve_chaining()
    except dns.exception.DNSException as error:
        return Reply(ReplyKind.REFUSED, problem=f"a confused answer ({type(error).__name__})")
    records: tuple[Record, ...] = ()
    if result.answer is not None:
        read = _READERS[question.type]
        found = (read(rdata) for rdata in result.answer)
        records = tuple(record for record in found if record is not None)
    if records:
        outcome = Outcome.FOUND
    elif message.rcode() == dns.rcode.NXDOMAIN:
        outcome = Outcome.NO_SUCH_NAME
    else:
        outcome = Outcome.NO_RECORDS
    # an absence without SOA is not for keeping (RFC 2308 §5)
    has_lifetime = bool(records) or any(
        rrset.rdtype == dns.rdatatype.SOA for rrset in message.authority
    )
    asked = message.question[0].name
    canonical = "" if result.canonical_name == asked else name_text(result.canonical_name) or ""
    answer = Answer(
        outcome,
        records,
        int(result.minimum_ttl) if has_lifetime else 0,
        is_trusted and bool(message.flags & dns.flags.AD),
        canonical,
    )
    return Reply(ReplyKind.ANSWER, answer, message=message)


def wire_name(name: str) -> dns.name.Name:
    """A name in the form of `ask_name`, or "" for the root."""
    labels = [label.encode("ascii") for label in name.split(".") if label]
    return dns.name.Name([*labels, b""])


def name_text(name: dns.name.Name) -> str | None:
    """The inverse; None: the name cannot be asked for."""
    text = _name_text(name.labels)
    return None if text is None else text.lower()


def _name_text(labels: Iterable[bytes]) -> str | None:
    """A name as text, "" for the root; None when its labels are not what text can show.

    A dot within a label would make another name of it; blanks and controls serve only mischief.
    """
    shown = [label for label in labels if label]
    octets = b"".join(shown)
    if b"." in octets or any(not 0x21 <= octet <= 0x7E for octet in octets):
        return None
    return b".".join(shown).decode("ascii")


def _mail_exchange(rdata: Any) -> MailExchange | None:
    host = _name_text(rdata.exchange.labels)
    return None if host is None else MailExchange(int(rdata.preference), host)


def _tlsa_record(rdata: Any) -> TlsaRecord:
    return TlsaRecord(int(rdata.usage), int(rdata.selector), int(rdata.mtype), bytes(rdata.cert))


_READERS: dict[RecordType, Callable[[Any], Record | None]] = {
    RecordType.A: lambda rdata: IPv4Address(rdata.address),
    RecordType.AAAA: lambda rdata: IPv6Address(rdata.address),
    RecordType.CNAME: lambda rdata: _name_text(rdata.target.labels),
    RecordType.DNSKEY: lambda rdata: bytes(rdata.to_wire()),
    RecordType.DS: lambda rdata: bytes(rdata.to_wire()),
    RecordType.MX: _mail_exchange,
    RecordType.PTR: lambda rdata: _name_text(rdata.target.labels),
    RecordType.SOA: lambda rdata: _name_text(rdata.mname.labels),
    RecordType.TLSA: _tlsa_record,
    RecordType.TXT: lambda rdata: b"".join(rdata.strings),
}
