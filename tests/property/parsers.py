"""Every parser of what others say, with samples of the right form and how it may refuse."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from email import message_from_bytes
from functools import partial
from pathlib import Path
from zlib import crc32

import msgspec

from relevo.authn.sasl import LoginConversation, PlainConversation
from relevo.config.chasquid_conf import read_chasquid_conf
from relevo.config.listen_address import BadListenAddress, parse_listen_address
from relevo.config.relevo_toml import read_overrides, read_relevo_toml
from relevo.config.textproto import TextProtoError
from relevo.config.textproto import parse as parse_textproto
from relevo.config.units import parse_duration, parse_size
from relevo.delivery.mailbox_pattern import InvalidPattern, parse_pattern
from relevo.directory.aliases import InvalidTargets, parse_aliases, parse_targets
from relevo.directory.local_part import LocalPartRules
from relevo.directory.problems import FileError
from relevo.directory.users import parse_users
from relevo.dns.names import BadName, ask_name
from relevo.dns.wire import Question, RecordType, make_query, read_reply
from relevo.hook import Message, example
from relevo.hook.ready import http_post, ldap_messages, spamassassin, webhook
from relevo.hook.ready.peers import PeerFailed
from relevo.hooks import contract_v1
from relevo.hooks.contract import InvalidVerdict, Stage
from relevo.hooks.contract.json_form import (
    alias_exists_verdict,
    alias_resolve_verdict,
    read_verdict,
)
from relevo.hooks.http.responses import parse_head as parse_answer_head
from relevo.hooks.milter.agreement import read_agreement
from relevo.hooks.milter.conversation import final_verdict
from relevo.hooks.milter.modifications import Modifications
from relevo.hooks.milter.packets import ALL_ACTIONS, split_reply
from relevo.hooks.policy.actions import read_answer
from relevo.hooks.services import ServiceFailed
from relevo.journal.escape import escape
from relevo.mail import InvalidAddress, parse_address
from relevo.mail.header_block import (
    check_header,
    count_received,
    field_values,
    remove_fields,
    split_head,
)
from relevo.mailauth.authentication_results import remove_forged_results
from relevo.mailauth.dkim.author import author_domain
from relevo.mailauth.dkim.key_record import BadKey, parse_key_record
from relevo.mailauth.dkim.tags import BadTags, parse_tags
from relevo.mailauth.dmarc import parse_record as parse_dmarc_record
from relevo.mailauth.dmarc import read_author
from relevo.mailauth.dmarc.failure_reading import read_failure_report
from relevo.mailauth.dmarc.forwarding import dmarc_passed
from relevo.mailauth.dmarc.public_suffixes import BadSuffixList, PublicSuffixes
from relevo.mailauth.dmarc.report_reading import BadReport, read_report
from relevo.mailauth.spf.macros import BadMacro, parse_explanation
from relevo.mailauth.spf.record import BadRecord, parse_record, select_record
from relevo.queue.records import (
    Metadata,
    RecordDamaged,
    UnitMetadata,
    decode_metadata,
    encode,
    scan_segment,
)
from relevo.queue.store import Envelope
from relevo.reception.proxy_header import MAX_BINARY, parse_proxy_header
from relevo.smtp import SessionSettings
from relevo.smtp.buffer import InputBuffer
from relevo.smtp.commands import parse_auth, parse_bdat, parse_hello, parse_mail, parse_rcpt
from relevo.smtp.framing import ChunkReader, DataReader
from relevo.smtp.reply_reader import ReplyReader
from relevo.smtp.wishes import WishOffers
from relevo.smtp.xclient import parse_xclient
from relevo.web.requests import BadRequest, parse_head

HERE = Path("file")
OFFERS = SessionSettings(
    hostname="mx.test",
    max_size=10**6,
    offers_binarymime=True,
    offers_xclient=True,
    mechanisms=("PLAIN", "LOGIN"),
    wishes=WishOffers(deliver_by_least=60, hold_most=86400, priority=True, clock=lambda: 1.8e9),
)
HEADER = (
    b"Received: from x by y; Tue, 24 Nov 2026 23:00:00 +0000\r\n"
    b"Authentication-Results: mx.test;\r\n\tspf=pass smtp.mailfrom=a@b.test\r\n"
    b"From: A <a@b.test>, =?utf-8?q?=C3=B1?= <b@c.test>\r\nSubject: x\r\n\r\nbody\r\n"
)
REPORT = (
    b"<?xml version='1.0'?><feedback xmlns='urn:ietf:params:xml:ns:dmarc-2.0'><report_metadata>"
    b"<org_name>a</org_name><report_id>1</report_id><date_range><begin>1</begin><end>2</end>"
    b"</date_range></report_metadata><policy_published><domain>b.test</domain><p>none</p>"
    b"</policy_published><record><row><source_ip>192.0.2.1</source_ip><count>2</count></row>"
    b"<identifiers><header_from>b.test</header_from></identifiers></record></feedback>"
)
FAILURE_REPORT = (
    b"From: r@a.test\r\nMessage-ID: <1@a.test>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: multipart/report; report-type=feedback-report; boundary=b\r\n\r\n--b\r\n"
    b"Content-Type: message/feedback-report\r\n\r\nFeedback-Type: auth-failure\r\n"
    b"Reported-Domain: b.test\r\nArrival-Date: Wed, 25 Nov 2026 04:00:00 +0000\r\n\r\n--b\r\n"
    b"Content-Type: text/rfc822-headers\r\n\r\nFrom: x@b.test\r\n\r\n--b--\r\n"
)
QUESTION = Question("a.test.", RecordType.MX)
QUERY = make_query(QUESTION, 4711)
REPLY = (
    b"\x12\x67\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\x01a\x04test\x00\x00\x0f\x00\x01"
    b"\xc0\x0c\x00\x0f\x00\x01\x00\x00\x00\x3c\x00\x06\x00\x0a\x01m\xc0\x0c"
)

POSTED = (
    b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html; charset=latin-1\n"
    b"Content-Disposition: attachment; filename*=utf-8''a\nContent-Transfer-Encoding: base64\n\n"
    b"eA==\n--b--\n"
)


def text(parse: Callable[[str], object]) -> Callable[[bytes], object]:
    """A parser of text, given whatever octets make in Latin-1 and in UTF-8."""

    def run(octets: bytes) -> None:
        for each in (octets.decode("latin-1"), octets.decode("utf-8", "replace")):
            parse(each)

    return run


def milter_answers(octets: bytes) -> None:
    """What a filter says at the end of a message."""
    actions = Modifications(ALL_ACTIONS, b"To: a@b.test\r\n", 100, keeps_space=False)
    reply, data = split_reply(octets)
    if not actions.take(reply, data):
        final_verdict(reply, data)
    actions.changes()


def directory_answers(octets: bytes) -> None:
    """What an LDAP server says to a search."""
    for each in ldap_messages.messages(bytearray(octets)):
        if each.tag == ldap_messages.SEARCH_ENTRY:
            ldap_messages.values_of(each.body)
        else:
            ldap_messages.result_of(each.body)


def posted(octets: bytes) -> None:
    """A message as JSON for a webhook."""
    told = webhook.taken_apart(Message(octets), example("post-data"), has_contents=True)
    msgspec.json.encode(told)


def fed(reader: Callable[[], DataReader | ChunkReader | ReplyReader]) -> Callable[[bytes], object]:
    """A reader of a buffer, which is given all at once and read until it wants no more."""

    def run(octets: bytes) -> None:
        buffer, made = InputBuffer(), reader()
        buffer.append(octets)
        for _ in range(len(octets) + 2):
            left = len(buffer)
            made.read(buffer)
            if len(buffer) == left:
                return

    return run


def open_chunk() -> ChunkReader:
    reader = ChunkReader(10**6, is_binary=False)
    reader.begin(20, is_last=True)
    return reader


def header(octets: bytes) -> None:
    head, body = split_head(octets)
    assert head + body == octets
    check_header(octets)
    count_received(head)
    field_values(head, "From")
    assert len(remove_fields(head, "Received", "X")) <= len(head)
    assert len(remove_forged_results(head, "mx.test")) <= len(head)
    author_domain(head)


def proxy(octets: bytes) -> None:
    found = parse_proxy_header(octets)
    assert found is not None or len(octets) < MAX_BINARY


def dns_reply(octets: bytes) -> None:
    for trusted in (False, True):
        read_reply(QUERY, QUESTION, octets, is_trusted=trusted)
    read_reply(QUERY, QUESTION, QUERY.id.to_bytes(2) + octets[2:], is_trusted=True)


def sasl(octets: bytes) -> None:
    for needs_domain in (False, True):
        PlainConversation(needs_domain=needs_domain).step(octets)
        login = LoginConversation(needs_domain=needs_domain)
        login.step(octets)
        login.step(octets)


def segment(octets: bytes) -> None:
    for number in (0, 1):
        list(scan_segment(octets, number))


def metadata(octets: bytes) -> None:
    decode_metadata(octets, crc32(octets))  # where the sum is right, the form may be wrong


def hook_output(octets: bytes) -> None:
    contract_v1.post_data_verdict(0, octets)
    contract_v1.post_data_verdict(20, octets)
    contract_v1.alias_text(octets)
    contract_v1.last_line(octets)


def escaped(words: str) -> None:
    assert not {char for char in escape(words) if char < " " or char == "\x7f"}


@dataclass(frozen=True)
class Parser:
    """What is called, what it is meant for, and how it may refuse."""

    parse: Callable[[bytes], object]
    samples: tuple[bytes, ...]
    refusals: tuple[type[Exception], ...] = ()


PARSERS = {
    "EHLO": Parser(lambda octets: parse_hello("EHLO", octets), (b"a.test", b"[IPv6:::1]", b"x y")),
    "MAIL": Parser(
        lambda octets: parse_mail(octets, OFFERS),
        (
            b"FROM:<a@b.test> SIZE=10 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb AUTH=<>",
            b"FROM:<>",
            b'FROM:<"a\\"b"@[127.0.0.1]> REQUIRETLS',
            b"FROM:<a@b.test> BY=120;RT HOLDFOR=60 MT-PRIORITY=-9",
            b"FROM:<a@b.test> HOLDUNTIL=2027-01-15T09:00:00.5+01:00",
        ),
    ),
    "RCPT": Parser(
        lambda octets: parse_rcpt(octets, OFFERS),
        (
            b"TO:<a@b.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb@c",
            b"TO:<Postmaster>",
            "TO:<ñ@ñ.test> ORCPT=utf-8;\\x{F1}@d".encode(),
        ),
    ),
    "BDAT": Parser(parse_bdat, (b"10", b"10 LAST", b"0 LAST")),
    "AUTH": Parser(
        lambda octets: parse_auth(octets, OFFERS), (b"PLAIN AGEAYg==", b"LOGIN", b"LOGIN =")
    ),
    "XCLIENT": Parser(
        parse_xclient,
        (b"ADDR=192.0.2.1 PORT=25 PROTO=ESMTP", b"ADDR=IPV6:::1", b"NAME=[UNAVAILABLE] HELO=a+20b"),
    ),
    "DATA": Parser(fed(lambda: DataReader(10**6)), (b"A: b\r\n\r\n..x\r\n.\r\nQUIT\r\n",)),
    "chunk": Parser(fed(open_chunk), (b"A: b\r\n\r\nxyz\r\n.\r\nabc\r\n",)),
    "reply": Parser(fed(ReplyReader), (b"250-a\r\n250 2.0.0 b\r\n", b"554 5.7.1 no\r\n")),
    "SASL": Parser(sasl, (b"\0user@d1.test\0secret", b"a\0b\0c", b"user@d1.test")),
    "PROXY": Parser(
        proxy,
        (
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
            b"PROXY TCP6 ::1 ::1 1 2\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12),
        ),
    ),
    "HTTP": Parser(
        parse_head,
        (
            b"GET /metrics?x HTTP/1.1\r\nHost: a\r\nAuthorization: Basic eDp5\r\n\r\n",
            b"POST /exit HTTP/1.0\r\nContent-Length: 3\r\n\r\n",
        ),
        (BadRequest,),
    ),
    "header": Parser(header, (HEADER, b"\r\nbody", b"A: b\r\n c\r\n\r\n")),
    "address": Parser(
        text(parse_address),
        (b"a@b.test", b'"a b"@[127.0.0.1]', b"a", "ñ@ñ.test".encode()),
        (InvalidAddress,),
    ),
    "aliases": Parser(
        lambda octets: parse_aliases(
            octets, domain="d1.test", rules=LocalPartRules("+", "."), path=HERE
        ),
        (b"# c\na: b, c@d.test\np: | cat -n\n*: x\n", b"a: b via s.test\n"),
        (FileError,),
    ),
    "targets": Parser(
        text(lambda words: parse_targets(words, "d1.test")),
        (b"a, b@c.test", b"| cat", b"a via b"),
        (InvalidTargets,),
    ),
    "users": Parser(
        lambda octets: parse_users(octets, path=HERE),
        (
            b'users: { key: "a" value: { scrypt: { logN: 4 r: 8 p: 1 keyLen: 1 salt: "x" } } }',
            b'users { key: "b" value { plain { password: "x" } } }',
            b'users: <key: "c", value: <denied: <>>>',
        ),
        (FileError,),
    ),
    "textproto": Parser(
        lambda octets: parse_textproto(octets, "file"),
        (b'a: "x" b: 1 c { d: true } # e\n', b"a: ['x', \"y\" 'z'] b: <c: -1.5e3>"),
        (TextProtoError,),
    ),
    "chasquid.conf": Parser(
        lambda octets: read_chasquid_conf(octets, "chasquid.conf", HERE),
        (b'hostname: "a.test"\nmax_data_size_mb: 50\nsmtp_address: ":25"\n',),
    ),
    "relevo.toml": Parser(
        lambda octets: read_relevo_toml(octets, "relevo.toml"),
        (
            b'hostname = "a.test"\nlimits.errors = 3\n[listen]\nsmtp = [":25", "systemd"]\n',
            b'queue.give_up_after = "5d"\n[[hook]]\nname = "x"\nstage = "rcpt"\n',
        ),
    ),
    "--set": Parser(
        text(lambda words: read_overrides([words])), (b"limits.errors=3", b'listen.smtp=[":25"]')
    ),
    "listen address": Parser(
        text(parse_listen_address), (b":25", b"[::1]:25", b"a.test:smtp"), (BadListenAddress,)
    ),
    "duration": Parser(
        text(parse_duration), (b"1h30m", b"2d", b"500ms"), (ValueError, OverflowError)
    ),
    "size": Parser(text(parse_size), (b"64KiB", b"10MB", b"7"), (ValueError,)),
    "mailbox pattern": Parser(text(parse_pattern), (b"/mail/{domain}/{user}",), (InvalidPattern,)),
    "DNS reply": Parser(dns_reply, (REPLY,)),
    "DNS name": Parser(
        text(ask_name), (b"a.test", "ñ.test".encode(), b"_dmarc.a.test."), (BadName,)
    ),
    "SPF record": Parser(
        parse_record,
        (
            b"v=spf1 a mx/24 ip4:192.0.2.0/24 include:b.test ~all",
            b"v=spf1 exists:%{ir}.%{v}.a.test -all",
            b"v=spf1 redirect=b.test exp=%{d}",
        ),
        (BadRecord,),
    ),
    "SPF records": Parser(
        lambda octets: select_record(octets.split(b"|")),
        (b"v=spf1 -all|x", b"v=spf1|v=spf1 a"),
        (BadRecord,),
    ),
    "SPF explanation": Parser(
        text(parse_explanation), (b"%{s} is not %{d2r.-} %% %_", b"see http://%{h}/"), (BadMacro,)
    ),
    "DMARC record": Parser(
        parse_dmarc_record,
        (
            b"v=DMARC1; p=reject; sp=none; np=quarantine; adkim=s; t=y; psd=n; fo=1:d",
            b"v=DMARC1 ; p=none; rua=mailto:a@b.test!10m, mailto:c@d.test; pct=10",
        ),
    ),
    "author": Parser(
        read_author,
        (
            b'From: "A, B" (c (d)) <a@b.test>, =?utf-8?q?x?= <c@b.test>\r\nTo: x@y\r\n',
            b"From: <@x.test,@y.test:a@b.test>\r\n\xa0From: friends: a@b.test;\r\n",
        ),
    ),
    "results in a chain": Parser(dmarc_passed, (b'mx; spf=pass (x); dmarc / 1 = pass reason="a"',)),
    "DMARC failure report": Parser(
        lambda octets: read_failure_report(message_from_bytes(octets)),
        (FAILURE_REPORT,),
        (BadReport,),
    ),
    "public suffixes": Parser(
        lambda octets: PublicSuffixes(octets.decode("utf-8", "replace")).organizational_domain(
            "a.b.test"
        ),
        (b"// x\ntest\n*.b.test\n!a.b.test\n\xc3\xbc.test\n",),
        (BadSuffixList,),
    ),
    "DMARC report": Parser(read_report, (REPORT, gzip.compress(REPORT, mtime=0)), (BadReport,)),
    "DKIM tags": Parser(
        parse_tags, (b"v=1; a=rsa-sha256; d=a.test; s=s; h=from:to; bh=eA==; b=eA==",), (BadTags,)
    ),
    "DKIM key": Parser(
        parse_key_record,
        (
            b"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
            b"k=rsa; t=s:y; p=",
        ),
        (BadKey,),
    ),
    "verdict": Parser(
        lambda octets: [
            read_verdict(stage, octets) for stage in (Stage.POST_DATA, Stage.RCPT, Stage.MAIL)
        ],
        (
            b'{"verdict": "reject", "code": 550, "enhanced": "5.7.1", "text": "no"}',
            b'{"verdict": "accept", "add_headers": [{"name": "X", "value": "y"}], "tags": ["a"]}',
        ),
        (InvalidVerdict,),
    ),
    "resolving verdict": Parser(
        alias_resolve_verdict, (b'{"targets": ["a@b.test", "| cat"]}',), (InvalidVerdict,)
    ),
    "existing verdict": Parser(alias_exists_verdict, (b'{"exists": true}',), (InvalidVerdict,)),
    "output of hooks": Parser(
        hook_output,
        (b"X: y\nZ: a\n b\n", b"line\nno such thing\n", b"a, b@c.test\n"),
        (InvalidVerdict,),
    ),
    "milter agreement": Parser(
        read_agreement,
        (bytes([0, 0, 0, 6, 0, 0, 1, 0x7F, 0, 0, 0, 0, 0, 0, 0, 0]) + b"j {i}\0",),
        (ServiceFailed,),
    ),
    "milter answers": Parser(
        milter_answers,
        (
            b"hX-A\0b\0",
            b"i\0\0\0\0X-A\0b\n c\0",
            b"m\0\0\0\1To\0\0",
            b"+<a@b.test>\0",
            b"y550 5.7.1 no\0",
        ),
        (ServiceFailed, InvalidVerdict),
    ),
    "policy answer": Parser(
        lambda octets: read_answer(Stage.RCPT, octets),
        (b"action=defer_if_permit 4.2.0 later\n\n", b"action=prepend X-A: b\n\n"),
        (InvalidVerdict,),
    ),
    "head of a hook's HTTP answer": Parser(
        parse_answer_head,
        (b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\n",),
        (ServiceFailed,),
    ),
    "answers of a directory": Parser(
        directory_answers,
        (
            bytes.fromhex("300c 020102 6507 0a0100 0400 0400"),
            bytes.fromhex("3019 020102 6414 0404636e3d78 300c 300a 040161 3105 0403624063"),
        ),
        (ldap_messages.BadMessage,),
    ),
    "filter of a directory": Parser(
        text(ldap_messages.filter_octets),
        (b"(&(a=b*c)(!(d=*)))", b"(|(mail=\\2a)(cn=x))"),
        (ldap_messages.BadFilter,),
    ),
    "HTTP answer to a ready-made hook": Parser(
        http_post.read_answer,
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        ),
        (ValueError,),
    ),
    "answer of spamd": Parser(
        partial(spamassassin.verdict, spamassassin.SpamassassinSettings()),
        (b"SPAMD/1.1 0 EX_OK\r\nSpam: True ; 8.5 / 5.0\r\n\r\nA,B\r\n",),
        (PeerFailed,),
    ),
    "message for a webhook": Parser(
        posted,
        (
            POSTED,
            b'Subject: =?utf-8?q?=C3=A9?=\nTo: "a b" <c@d.test>, e:f;\nDate: Tue, 1 Jan 2030\n\nx',
        ),
        (),
    ),
    "segment": Parser(segment, (b"relevo", bytes(600)), (RecordDamaged,)),
    "metadata": Parser(
        metadata,
        (encode(Metadata("x", 1.0, Envelope("a@b.test"), (UnitMetadata("mda", 1.0, ()),))),),
        (RecordDamaged,),
    ),
    "escaping": Parser(text(escaped), (b"a\x1b[0m", "\u202ea".encode())),
}
