"""DKIM and ARC at reception: verifying, signing, sealing, and what a large body changes of it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import cast

import pytest

from harness.key_records import KeyRecords
from relevo.hooks.contract import Accept, DkimSignature, PostDataContext
from relevo.hooks.post_data import HookMessage, PostDataHooks, PostDataOutcome
from relevo.mailauth.arc import ArcResult, validate_message
from relevo.mailauth.dkim import SigningKey, sign_message, verify_message
from relevo.mailauth.dkim.private_key import KeyKind, key_record, make_private_key, private_key_pem
from unit.reception.conftest import Client, Place, Running, settle
from unit.reception.test_sender import login

FOREIGN = SigningKey("far.test", "one", make_private_key(KeyKind.ED25519))
OWN = make_private_key(KeyKind.ED25519)
OWN_RSA = make_private_key(KeyKind.RSA_3072)  # signs in the thread
MESSAGE = b"From: a@far.test\r\nSubject: x\r\n\r\nbody  of it\r\n"
LARGE = MESSAGE + b"a line with  blanks \t\r\n" * 20_000  # goes to the spool


@pytest.fixture
def keyed(place: Place) -> Place:
    """d1.test has a key; DNS knows it and the stranger's."""
    write_key(place, "ed", OWN)
    place.names.records |= {
        "one._domainkey.far.test": key_record(FOREIGN.key),
        "ed._domainkey.d1.test": key_record(OWN),
        "rsa._domainkey.d1.test": key_record(OWN_RSA),
    }
    return place


def write_key(place: Place, selector: str, key: object) -> None:
    assert isinstance(key, type(OWN) | type(OWN_RSA))
    folder = Path(place.config.config_dir) / "domains" / "d1.test"
    (folder / f"dkim:{selector}.pem").write_bytes(private_key_pem(key))


def signed(message: bytes) -> bytes:
    return sign_message(message, [FOREIGN], now=time.time()) + message


async def sent(
    client: Client,
    message: bytes,
    *,
    sender: str = "a@far.test",
    recipient: str = "user@d1.test",
) -> bytes:
    """Send it in pieces as a network would; the message as it was stored."""
    client.say(f"MAIL FROM:<{sender}>\r\nRCPT TO:<{recipient}>\r\n")
    client.say("DATA\r\n")
    for start in range(0, len(message), 50_000):
        client.say(message[start : start + 50_000])
        await settle()
    answer = client.say(".\r\n")
    for _ in range(2000):
        if answer:
            break
        await asyncio.sleep(0.005)
        answer = client.heard()
    assert "250 2.0.0" in answer, answer
    return client.store.added[-1].content.first(10_000_000)


def greeted(place: Place) -> Client:
    client = place.connect()
    client.say("EHLO cli\r\n")
    return client


def results_of(stored: bytes) -> bytes:
    """The value of our Authentication-Results, on one line."""
    assert stored.startswith(b"Authentication-Results: mx.test")
    return stored[: stored.index(b"\r\nReceived")].replace(b"\r\n\t", b" ")


@pytest.mark.parametrize("message", [MESSAGE, LARGE], ids=["small", "large"])
def test_a_good_signature_is_told(keyed: Place, running: Running, message: bytes) -> None:
    async def run() -> None:
        results = results_of(await sent(greeted(keyed), signed(message)))
        assert b" ;dkim=pass  header.b=" in results
        assert results.endswith(b" header.d=far.test header.s=one header.a=ed25519-sha256")

    running(run())


@pytest.mark.parametrize("message", [MESSAGE, LARGE], ids=["small", "large"])
def test_a_changed_body_is_told(keyed: Place, running: Running, message: bytes) -> None:
    async def run() -> None:
        results = results_of(await sent(greeted(keyed), signed(message) + b"more\r\n"))
        assert b';dkim=fail reason="the body is not the one that was signed"' in results

    running(run())


def test_mail_without_signatures_costs_no_look_up(keyed: Place, running: Running) -> None:
    async def run() -> None:
        stored = await sent(greeted(keyed), MESSAGE)
        assert results_of(stored) == b"Authentication-Results: mx.test ;dkim=none"
        assert keyed.names.asked == []

    running(run())


def test_dns_that_is_down_refuses_nobody(keyed: Place, running: Running) -> None:
    async def run() -> None:
        keyed.names.is_down = True
        results = results_of(await sent(greeted(keyed), signed(MESSAGE)))
        assert b';dkim=temperror reason="DNS: one._domainkey.far.test TXT"' in results

    running(run())


def test_many_lines_of_header_are_not_looked_at(keyed: Place, running: Running) -> None:
    async def run() -> None:
        results = results_of(await sent(greeted(keyed), b"a:\r\n" * 5000 + signed(MESSAGE)))
        assert b";dkim=policy" in results

    running(run())


@pytest.mark.parametrize("message", [MESSAGE, LARGE], ids=["small", "large"])
def test_a_user_is_signed_for(keyed: Place, running: Running, message: bytes) -> None:
    async def run() -> None:
        write_key(keyed, "rsa", OWN_RSA)
        client = greeted(keyed)
        login(client)
        own = message.replace(b"a@far.test", b"user@d1.test")
        stored = await sent(client, own + b"..stuffed\r\n", sender="x@other.test")
        assert stored.startswith(b"Received: ")
        assert await passing(keyed, stored) == ["ed", "rsa"]

    running(run())


def test_the_envelope_can_choose_the_key(keyed: Place, running: Running) -> None:
    async def run() -> None:
        keyed.set("dkim", signing_domain="envelope")
        client = greeted(keyed)
        login(client)
        assert await passing(keyed, await sent(client, MESSAGE, sender="user@d1.test")) == ["ed"]
        assert await passing(keyed, await sent(client, MESSAGE, sender="user@other.test")) == []

    running(run())


@pytest.mark.parametrize("author", [b"a@far.test", b"user@d1.test, b@far.test", b"nobody"])
def test_other_authors_are_not_signed_for(keyed: Place, running: Running, author: bytes) -> None:
    async def run() -> None:
        client = greeted(keyed)
        login(client)
        stored = await sent(client, MESSAGE.replace(b"a@far.test", author), sender="user@d1.test")
        assert b"dkim-signature" not in stored.lower()

    running(run())


def test_a_stranger_is_never_signed_for(keyed: Place, running: Running) -> None:
    async def run() -> None:
        forged = MESSAGE.replace(b"a@far.test", b"user@d1.test")
        assert b"DKIM-Signature" not in await sent(greeted(keyed), forged)

    running(run())


def test_what_cannot_be_signed_is_451(keyed: Place, running: Running) -> None:
    async def run() -> None:
        client = greeted(keyed)
        login(client)
        client.say("MAIL FROM:<user@d1.test>\r\nRCPT TO:<user@d1.test>\r\nDATA\r\n")
        octets = b"a:\r\n" * 5000 + MESSAGE.replace(b"a@far", b"user@d1") + b".\r\n"
        assert (await client.say_and_wait(octets)).startswith("451 4.3.0 ")
        assert keyed.store.added == []

    running(run())


@pytest.mark.parametrize("message", [MESSAGE, LARGE], ids=["small", "large"])
def test_what_is_handed_on_is_sealed(keyed: Place, running: Running, message: bytes) -> None:
    async def run() -> None:
        stored = await sent(greeted(keyed), signed(message), recipient="al@d1.test")
        assert stored.startswith(b"ARC-Seal: i=1; a=ed25519-sha256; cv=none; d=d1.test;")
        chain = await chain_of(keyed, stored)
        assert chain.is_pass, chain.reason
        assert b"dkim=pass" in chain.links[0].results

    running(run())


def test_a_chain_goes_on(keyed: Place, running: Running) -> None:
    async def run() -> None:
        first = await sent(greeted(keyed), MESSAGE, recipient="al@d1.test")
        second = await sent(greeted(keyed), first, recipient="al@d1.test")
        chain = await chain_of(keyed, second)
        assert chain.is_pass, chain.reason
        assert [link.instance for link in chain.links] == [1, 2]
        assert b"arc=pass" in chain.links[1].results
        broken = second.replace(b"body  of it", b"bogus")
        third = await sent(greeted(keyed), broken, recipient="al@d1.test")
        assert b"cv=fail" in third
        closed = await chain_of(keyed, third)
        assert closed.is_closed
        fourth = await sent(greeted(keyed), third, recipient="al@d1.test")
        assert fourth.count(b"ARC-Seal:") == 3

    running(run())


def test_a_chain_is_validated_without_dkim_too(keyed: Place, running: Running) -> None:
    async def run() -> None:
        keyed.set("dkim", verify=False)
        first = await sent(greeted(keyed), MESSAGE, recipient="al@d1.test")
        second = await sent(greeted(keyed), first)
        assert results_of(second) == b"Authentication-Results: mx.test ;arc=pass"

    running(run())


@pytest.mark.parametrize("settings", [{"seal": False}, {"validate": False}])
def test_sealing_can_be_off(keyed: Place, running: Running, settings: dict[str, bool]) -> None:
    async def run() -> None:
        keyed.set("arc", **settings)
        assert b"ARC-" not in await sent(greeted(keyed), MESSAGE, recipient="al@d1.test")

    running(run())


def test_what_stays_here_is_not_sealed(keyed: Place, running: Running) -> None:
    async def run() -> None:
        assert b"ARC-" not in await sent(greeted(keyed), signed(MESSAGE))

    running(run())


async def passing(place: Place, stored: bytes) -> list[str]:
    """The selectors of d1.test whose signatures are good."""
    results = await verify_message(stored, keys_of(place), now=time.time())
    return sorted(r.selector for r in results if r.is_pass and r.domain == "d1.test")


async def chain_of(place: Place, stored: bytes) -> ArcResult:
    return await validate_message(stored, keys_of(place))


def keys_of(place: Place) -> KeyRecords:
    return KeyRecords({name: text.encode() for name, text in place.names.records.items()})


class Asking:
    """A post-data hook that accepts and keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[PostDataContext] = []

    is_watched = False

    def find(self) -> list[object]:
        return [self]

    async def ask(
        self, _programs: object, context: PostDataContext, message: HookMessage, **_: object
    ) -> PostDataOutcome:
        self.told.append(context)
        return PostDataOutcome(Accept(), message.start, ())


def test_hooks_are_told_of_signatures(keyed: Place, running: Running) -> None:
    async def run() -> None:
        services = keyed.services()
        hooks = Asking()
        services.post_data = cast("PostDataHooks", hooks)
        client = keyed.connect(services=services)
        client.say("EHLO cli\r\n")
        await sent(client, signed(MESSAGE))
        await sent(client, MESSAGE)
        assert [context.signatures for context in hooks.told] == [
            (DkimSignature("pass", "far.test", "one"),), ()
        ]  # fmt: skip
        assert {context.arc_result for context in hooks.told} == {"none"}

    running(run())
