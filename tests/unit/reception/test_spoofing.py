"""The published server-side spoofing cases ("espoofer", Chen, Paxson, Jiang 2020), by their ideas.

In each, an attacker who owns attack.test sends mail that shall look like that of admin@legit.test,
whose domain wants such mail refused. What must never happen: accepted with `dmarc=pass` or without
a mark while a reader may be shown legit.test. docs/mail-authentication.md has the table.
"""

from __future__ import annotations

import base64
import time

import pytest

from relevo.mailauth.dkim import SigningKey, sign_message
from relevo.mailauth.dkim.private_key import KeyKind, key_record, make_private_key
from unit.reception.conftest import Place, Running
from unit.reception.names import FAIL, PASS
from unit.reception.test_author_policy import answer_to

OWN = SigningKey("attack.test", "one", make_private_key(KeyKind.ED25519))
REST = "To: victim@d1.test\r\nSubject: x\r\n\r\nx\r\n"
LEGIT = "From: <admin@legit.test>\r\n"
ENCODED = base64.b64encode(b"<admin@legit.test>").decode()
OWNER = "a@attack.test"


@pytest.fixture
def attacked(place: Place) -> Place:
    place.set("spf", check=True)
    place.set("dmarc", action="reject")
    place.names.records |= {
        "legit.test": FAIL,
        "_dmarc.legit.test": "v=DMARC1; p=reject; sp=reject",
        "attack.test": PASS,
        "any.attack.test": PASS,
        "helo.attack.test": PASS,
        "_dmarc.attack.test": "v=DMARC1; p=none",
        "one._domainkey.attack.test": key_record(OWN.key),
    }
    return place


def signed(message: str) -> bytes:
    """With the attacker's own good signature."""
    octets = message.encode("latin-1")
    return sign_message(octets, [OWN], now=time.time()) + octets


def claimed(domain: str, selector: str) -> bytes:
    """With a signature by the attacker's key whose tags are made to be misread."""
    message = (LEGIT + REST).encode()
    field = sign_message(message, [OWN], now=time.time())
    return (
        field.replace(b"d=attack.test", b"d=" + domain.encode()).replace(
            b"s=one", b"s=" + selector.encode()
        )
        + message
    )


CASES = {
    "A1 a subdomain that does not exist": ("a@nowhere.legit.test", (LEGIT + REST).encode(), "550"),
    "A2 a sender that some read as empty": ("(a@legit.test", (LEGIT + REST).encode(), "501"),
    "A3 NUL in the selector": (OWNER, claimed("legit.test", "attack.test.\0.any"), "550 5.7.1"),
    "A4 a quote in the domain of DKIM": (
        OWNER,
        claimed("legit.test'a@any.attack.test", "one"),
        "550 5.7.1",
    ),
    "A5 a parenthesis in the sender": ("a@legit.test(.attack.test", (LEGIT + REST).encode(), "501"),
    "A6 a quote in the sender": ("a@legit.test'@any.attack.test", (LEGIT + REST).encode(), "501"),
    "A7 a route in the sender": (
        "@legit.test,@any.test:'any@attack.test",
        (LEGIT + REST).encode(),
        "501",
    ),
    "A8 several From fields": (
        OWNER,
        signed("From: <a@attack.test>\r\n" + LEGIT + REST),
        "550 5.7.1",
    ),
    "A8 the other order": (OWNER, signed(LEGIT + "From: <a@attack.test>\r\n" + REST), "550 5.7.1"),
    "A9 blanks behind the name": (
        OWNER,
        signed("From : <a@attack.test>\r\n" + LEGIT + REST),
        "550 5.7.1",
    ),
    "A9 a blank before the first name": (
        OWNER,
        b" From: <a@attack.test>\r\n" + (LEGIT + REST).encode(),
        "554 5.6.0",
    ),
    "A9 another blank before the name": (
        OWNER,
        signed("\xa0From: <a@attack.test>\r\n" + LEGIT + REST),
        "550 5.7.1",
    ),
    "A10 a folded name": (
        OWNER,
        b"From\r\n : <a@attack.test>\r\n" + (LEGIT + REST).encode(),
        "554 5.6.0",
    ),
    "A11 From and Sender": (
        OWNER,
        b"From\r\n : <a@attack.test>\r\nSender: <admin@legit.test>\r\n" + REST.encode(),
        "554 5.6.0",
    ),
    "A11 Sender alone": (OWNER, signed("Sender: <admin@legit.test>\r\n" + REST), "550 5.7.1"),
    "A12 From and Resent-From": (
        OWNER,
        b"From\r\n : <a@attack.test>\r\nResent-From: <admin@legit.test>\r\n" + REST.encode(),
        "554 5.6.0",
    ),
    "A12 Resent-From alone": (
        OWNER,
        signed("Resent-From: <admin@legit.test>\r\n" + REST),
        "550 5.7.1",
    ),
    "A13 several addresses": (
        OWNER,
        signed("From: <a@attack.test>, <admin@legit.test>\r\n" + REST),
        "550 5.7.1",
    ),
    "A14 an encoded address": (
        OWNER,
        signed(f"From: =?utf-8?B?{ENCODED}?=, <b@attack.test>\r\n" + REST),
        "550 5.7.1",
    ),
    "A14 an encoded local part": (
        OWNER,
        signed(f"From: =?utf-8?B?{ENCODED}?=@attack.test\r\n" + REST),
        "550 5.7.1",
    ),
    "A15 a route": (
        OWNER,
        signed("From: <@attack.test,@any.test:admin@legit.test>\r\n" + REST),
        "550 5.7.1",
    ),
    "A16 a quoted pair": (
        OWNER,
        signed("From: <admin@legit.test>\\,<b@attack.test>\r\n" + REST),
        "550 5.7.1",
    ),
    "A17 special characters": (
        OWNER,
        signed("From: admin@legit.test,<b@attack.test>\r\n" + REST),
        "550 5.7.1",
    ),
    "A17 an address for a name": (
        OWNER,
        signed("From: admin@legit.test <b@attack.test>\r\n" + REST),
        "550 5.7.1",
    ),
    "A18 name and address exchanged": (
        OWNER,
        signed("From: <b@attack.test>admin@legit.test\r\n" + REST),
        "550 5.7.1",
    ),
    "A18 a comment": (
        OWNER,
        signed("From: (<admin@legit.test>) b@attack.test\r\n" + REST),
        "550 5.7.1",
    ),
    "A19 a group": (
        OWNER,
        signed("From: admin@legit.test:<b@attack.test>;\r\n" + REST),
        "550 5.7.1",
    ),
    "A19 an open quotation mark": (
        OWNER,
        signed('From: "<admin@legit.test> <b@attack.test>\r\n' + REST),
        "550 5.7.1",
    ),
    "NUL ends the address": (
        OWNER,
        signed("From: <admin@legit.test\0@attack.test>\r\n" + REST),
        "550 5.7.1",
    ),
    "a bare CR in the field": (
        OWNER,
        signed("From: <b@attack.test>\rFrom: <admin@legit.test>\r\n" + REST),
        "521",
    ),
    "a quoted local part": (
        OWNER,
        signed('From: "admin@legit.test"@attack.test\r\n' + REST),
        "550 5.7.1",
    ),
    "no author": (OWNER, signed(REST), "550 5.7.1"),
    "l= and a new body": (OWNER, signed(LEGIT + REST) + b"more\r\n", "550 5.7.1"),
    "a domain that only looks like it": (
        OWNER,
        signed("From: admin@evillegit.test\r\n" + REST),
        "250",
    ),
}


@pytest.mark.parametrize(("sender", "message", "answer"), CASES.values(), ids=CASES)
def test_no_trick_passes_for_another_domain(
    attacked: Place, running: Running, sender: str, message: bytes, answer: str
) -> None:
    async def run() -> None:
        client = attacked.connect()
        await client.say_and_wait("EHLO helo.attack.test\r\n")
        refused = await client.say_and_wait(f"MAIL FROM:<{sender}>\r\n")
        if not refused.startswith("250"):
            assert refused.startswith(answer), refused
            return
        client.say("RSET\r\n")
        said = await answer_to(client, message, sender)
        assert said.startswith(answer), said
        if answer == "250":
            stored = attacked.store.added[-1].content.first(10_000)
            assert b"dmarc=none" in stored

    running(run())


@pytest.mark.parametrize("value", ["legit.test; dmarc=pass", "x) dmarc=pass (", 'a" ;dmarc=pass'])
def test_nothing_can_be_written_into_our_results(
    attacked: Place, running: Running, value: str
) -> None:
    """A4, A5, A6: what was checked stands quoted, or is no domain."""
    attacked.set("dmarc", action="tag")

    async def run() -> None:
        client = attacked.connect()
        await client.say_and_wait("EHLO helo.attack.test\r\n")
        said = await answer_to(client, claimed(value, "one"), OWNER)
        assert said.startswith("250"), said
        stored = attacked.store.added[-1].content.first(10_000)
        head = stored.partition(b"\r\nReceived:")[0]
        assert head.count(b";dmarc=") == 1
        assert b";dmarc=fail" in head

    running(run())
