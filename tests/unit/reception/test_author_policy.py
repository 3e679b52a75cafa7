"""DMARC at reception: what is told of the author, and what follows from it."""

from __future__ import annotations

import asyncio
import time
from typing import cast

import pytest

from relevo.hooks.post_data import PostDataHooks
from relevo.journal import Rejected
from relevo.mailauth.arc import ArcResult
from relevo.mailauth.arc.result import NO_CHAIN
from relevo.mailauth.arc.sealing import seal_head
from relevo.mailauth.dkim import RELAXED_BODY, SigningKey, sign_message
from relevo.mailauth.dkim.body_hash import hash_body
from relevo.mailauth.dkim.private_key import KeyKind, key_record, make_private_key
from unit.reception.conftest import Client, Place, Running
from unit.reception.names import PASS
from unit.reception.test_authentication import LARGE, MESSAGE, Asking, greeted, results_of
from unit.reception.test_sender import login

SIGNER = SigningKey("far.test", "one", make_private_key(KeyKind.ED25519))
LIST = SigningKey("lists.test", "one", make_private_key(KeyKind.ED25519))


@pytest.fixture
def judging(place: Place) -> Place:
    """SPF and DMARC are asked; far.test wants refusal, mild.test quarantine, new.test tests."""
    place.set("spf", check=True)
    place.names.records |= {
        "_dmarc.far.test": "v=DMARC1; p=reject",
        "_dmarc.mild.test": "v=DMARC1; p=quarantine",
        "_dmarc.new.test": "v=DMARC1; p=quarantine; t=y",
        "one._domainkey.far.test": key_record(SIGNER.key),
        "one._domainkey.lists.test": key_record(LIST.key),
        "pass.test": PASS,
        "far.test": "v=spf1 ~all",
    }
    return place


def of(domain: str, message: bytes = MESSAGE) -> bytes:
    return message.replace(b"a@far.test", b"a@" + domain.encode())


async def answer_to(client: Client, message: bytes, sender: str = "a@pass.test") -> str:
    """The reply behind the message."""
    await client.say_and_wait(f"MAIL FROM:<{sender}>\r\n")
    await client.say_and_wait("RCPT TO:<user@d1.test>\r\nDATA\r\n")
    for start in range(0, len(message), 50_000):
        if answer := await client.say_and_wait(message[start : start + 50_000]):
            return answer  # it was refused before its end
    answer = client.say(".\r\n")
    for _ in range(2000):
        if answer:
            break
        await asyncio.sleep(0.005)
        answer = client.heard()
    return answer


async def stored_of(client: Client, message: bytes, sender: str = "a@pass.test") -> bytes:
    """The message as it was stored."""
    answer = await answer_to(client, message, sender)
    assert answer.startswith("250 2.0.0"), answer
    return client.store.added[-1].content.first(10_000_000)


@pytest.mark.parametrize("message", [MESSAGE, LARGE], ids=["small", "large"])
def test_a_signature_of_the_author_passes(judging: Place, running: Running, message: bytes) -> None:
    async def run() -> None:
        signed = sign_message(message, [SIGNER], now=time.time()) + message
        stored = await stored_of(greeted(judging), signed)
        results = results_of(stored.partition(b"\r\nReceived-SPF")[0] + b"\r\nReceived")
        assert results.endswith(b" ;dmarc=pass (p=reject)  header.from=far.test polrec.p=reject")
        assert b"Relevo-Quarantine" not in stored

    running(run())


def test_spf_of_the_author_passes(judging: Place, running: Running) -> None:
    judging.names.records["_dmarc.pass.test"] = "v=DMARC1; p=reject"

    async def run() -> None:
        stored = await stored_of(greeted(judging), of("m.pass.test"))
        assert b";dmarc=pass (p=reject)" in stored
        assert b"header.from=m.pass.test polrec.p=reject polrec.domain=pass.test" in stored

    running(run())


@pytest.mark.parametrize("message", [MESSAGE, LARGE], ids=["small", "large"])
def test_a_forged_author_is_put_aside(judging: Place, running: Running, message: bytes) -> None:
    async def run() -> None:
        stored = await stored_of(greeted(judging), message)
        assert b";dmarc=fail (p=reject, handled as quarantine)" in stored
        assert b"\r\nRelevo-Quarantine: dmarc=fail (p=reject of far.test)\r\nReceived: " in stored
        assert judging.store.added[-1].envelope.tags == ("quarantine",)

    running(run())


def test_a_forged_author_is_refused_where_wanted(judging: Place, running: Running) -> None:
    judging.set("dmarc", action="reject")

    async def run() -> None:
        client = greeted(judging)
        answer = await answer_to(client, MESSAGE)
        assert answer.startswith("550 5.7.1 ")
        assert "the p=reject of far.test" in answer
        (refused,) = [event for event in judging.events if isinstance(event, Rejected)]
        assert (refused.code, refused.reverse_path) == (550, "a@pass.test")
        stored = await stored_of(client, of("mild.test"))
        assert b"Relevo-Quarantine: dmarc=fail (p=quarantine of mild.test)\r\n" in stored

    running(run())


@pytest.mark.parametrize(
    ("action", "domain", "said"),
    [
        ("tag", "far.test", b";dmarc=fail (p=reject)\r\n"),
        ("reject", "new.test", b";dmarc=fail (p=quarantine, t=y)\r\n"),
        ("reject", "none.test", b';dmarc=none reason="no policy is published"'),
        ("none", "far.test", b""),
    ],
)
def test_what_is_only_told(
    judging: Place, running: Running, action: str, domain: str, said: bytes
) -> None:
    judging.set("dmarc", action=action)

    async def run() -> None:
        stored = await stored_of(greeted(judging), of(domain))
        assert said in stored
        assert (b"dmarc" in stored) is bool(said)
        assert b"Relevo-Quarantine" not in stored

    running(run())


@pytest.mark.parametrize(
    "message",
    [
        b"Subject: x\r\n\r\nx\r\n",
        b"From: a@far.test\r\nFrom: a@pass.test\r\n\r\nx\r\n",
        b"From: a@far.test, b@pass.test\r\n\r\nx\r\n",
    ],
)
def test_mail_without_a_clear_author(judging: Place, running: Running, message: bytes) -> None:
    async def run() -> None:
        assert (await answer_to(greeted(judging), message)).startswith("550 5.7.1 ")
        judging.set("dmarc", bad_from="accept")
        stored = await stored_of(greeted(judging), message)
        assert (b';dmarc=permerror reason="' in stored) is (b"\r\nFrom" in b"\r\n" + message)

    running(run())


def test_dns_that_fails(judging: Place, running: Running) -> None:
    judging.names.is_down = True

    async def run() -> None:
        assert b";dmarc=temperror" in await stored_of(greeted(judging), MESSAGE)
        judging.set("dmarc", on_temperror="defer")
        assert (await answer_to(greeted(judging), MESSAGE)).startswith("451 4.7.0")

    running(run())


@pytest.mark.parametrize("reason", ["user", "network", "no SPF", "no DKIM"])
def test_who_is_not_judged(judging: Place, running: Running, reason: str) -> None:
    judging.set("dmarc", action="reject")

    async def run() -> None:
        if reason == "network":
            judging.set("spf", skip_networks=("192.0.2.0/24",))
        elif reason == "no SPF":
            judging.set("spf", check=False)
        elif reason == "no DKIM":
            judging.set("dkim", verify=False)
        client = greeted(judging)
        if reason == "user":
            login(client)
        assert b"dmarc" not in await stored_of(client, MESSAGE)

    running(run())


def test_marks_of_strangers_are_removed(judging: Place, running: Running) -> None:
    async def run() -> None:
        forged = b"Relevo-quarantine: no\r\n" + of("none.test")
        assert b"quarantine" not in await stored_of(greeted(judging), forged)

    running(run())


@pytest.mark.parametrize(
    ("trusted", "results", "is_believed"),
    [
        (("lists.test",), b" lists.test; dmarc=pass", True),
        (("lists.test",), b" lists.test; dmarc=fail", False),
        (("other.test",), b" lists.test; dmarc=pass", False),
        ((), b" lists.test; dmarc=pass", False),
    ],
)
def test_a_trusted_list_may_vouch(
    judging: Place,
    running: Running,
    trusted: tuple[str, ...],
    results: bytes,
    is_believed: bool,
) -> None:
    judging.set("dmarc", action="reject")
    judging.set("arc", trusted=trusted)
    message = sealed(results, NO_CHAIN)

    async def run() -> None:
        if not is_believed:
            assert (await answer_to(greeted(judging), message)).startswith("550 5.7.1")
            return
        stored = await stored_of(greeted(judging), message)
        assert b";dmarc=fail (p=reject, lists.test vouches for it)" in stored

    running(run())


def sealed(results: bytes, found: ArcResult) -> bytes:
    head, _, body = MESSAGE.partition(b"\r\n\r\n")
    digest = hash_body(body, RELAXED_BODY).digest
    link = seal_head(
        head + b"\r\n", digest, LIST, results=results, found=found, sets=(), now=time.time()
    )
    return link + MESSAGE


def test_hooks_are_told_of_the_author(judging: Place, running: Running) -> None:
    async def run() -> None:
        services = judging.services()
        hooks = Asking()
        services.post_data = cast("PostDataHooks", hooks)
        client = judging.connect(services=services)
        await client.say_and_wait("EHLO cli\r\n")
        await stored_of(client, MESSAGE)
        (context,) = hooks.told
        assert (context.dmarc_result, context.author_domain) == ("fail", "far.test")
        assert context.tags == ("quarantine",)

    running(run())


def test_quarantine_may_be_a_place_where_it_waits(judging: Place, running: Running) -> None:
    judging.set("dmarc", action="quarantine", quarantine="hold")

    async def run() -> None:
        client = greeted(judging)
        assert (await answer_to(client, of("far.test"))).startswith("250")
        assert (await answer_to(client, of("pass.test"))).startswith("250")
        held, delivered = judging.store.added
        assert held.envelope.quarantine is not None
        assert (held.envelope.quarantine.stage, held.envelope.quarantine.reason) == (
            "dmarc",
            "p=reject of far.test",
        )
        assert [unit.route for unit in held.units] == ["quarantine"]
        assert b"Relevo-Quarantine: dmarc=fail" in held.content.first(10_000)
        assert delivered.envelope.quarantine is None

    running(run())
