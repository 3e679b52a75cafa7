"""Who may send where, and that nobody else may."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from relevo.config.relay_model import DeclaredRelayDomain, Relay
from relevo.delivery.forwarding import Forwarding, Rewriting
from relevo.directory import Existence, UnknownNow
from relevo.mail import Address, parse_address
from relevo.reception.relay_domains import RelayDomains
from unit.reception.conftest import Client, Place, Running

FORWARDING = Forwarding(
    Rewriting.SRS, b"s" * 32, lambda domain: domain == "d1.test", lambda: 20_000
)


def greeted(place: Place) -> Client:
    client = place.connect()
    client.say("EHLO cli\r\n")
    return client


def asked(client: Client, recipient: str, sender: str = "a@b.test") -> str:
    client.say(f"MAIL FROM:<{sender}>\r\n")
    return client.say(f"RCPT TO:{recipient}\r\n")


OPEN_RELAY_FORMS = [
    "<x@r.test>",
    "<@d1.test:x@r.test>",
    "<@d1.test,@mx.test:x@r.test>",
    '<"x@r.test"@r.test>',
    "<x%r.test@other.test>",
    "<r.test!x@other.test>",
    "<x@[192.0.2.1]>",
    "<x@d1.test.r.test>",
    "<x@r.test.>",
    "<x@D1.test@r.test>",
]


@pytest.mark.parametrize("recipient", OPEN_RELAY_FORMS)
@pytest.mark.parametrize("sender", ["a@b.test", "", "user@d1.test", "postmaster@d1.test"])
def test_no_stranger_relays_by_any_form(
    place: Place, running: Running, recipient: str, sender: str
) -> None:
    async def run() -> None:
        reply = asked(greeted(place), recipient, sender)
        assert reply.startswith("5")
        assert len(reply.splitlines()) == 1

    running(run())


@pytest.mark.parametrize(
    "recipient", ["<x%r.test@d1.test>", '<"x@r.test"@d1.test>', "<r.test!x@d1.test>"]
)
def test_routing_in_a_local_part_of_ours_is_no_routing(
    place: Place, running: Running, recipient: str
) -> None:
    async def run() -> None:
        assert asked(greeted(place), recipient).startswith("550 5.1.")

    running(run())


@pytest.mark.parametrize(
    ("networks", "code"),
    [((), "503"), (("192.0.2.0/24",), "250"), (("192.0.2.7",), "250"), (("192.0.2.8",), "503")],
)
def test_networks_that_are_named_may_relay(
    place: Place, running: Running, networks: tuple[str, ...], code: str
) -> None:
    async def run() -> None:
        place.set("relay", networks=networks)
        assert asked(greeted(place), "<x@r.test>").startswith(code)

    running(run())


def test_a_proxy_that_names_no_client_may_not_relay_for_it(place: Place, running: Running) -> None:
    async def run() -> None:
        place.set("relay", networks=("192.0.2.0/24",))
        place.set("xclient", trusted=("192.0.2.7",))
        client = greeted(place)
        assert asked(client, "<x@r.test>").startswith("503")
        client.say("RSET\r\n")
        client.say("XCLIENT ADDR=192.0.2.9\r\n")
        client.say("EHLO cli\r\n")
        assert asked(client, "<x@r.test>").startswith("250")

    running(run())


def test_a_bounce_of_forwarded_mail_goes_back_to_its_sender(place: Place, running: Running) -> None:
    async def run() -> None:
        services = place.services()
        services.forwarding = FORWARDING
        client = place.connect(services=services)
        client.say("EHLO cli\r\n")
        reverse_path = FORWARDING.for_sender(parse_address("a@b.test"), "")
        assert reverse_path is not None
        made = reverse_path(parse_address("al@d1.test"))
        assert asked(client, f"<{made}>", "").startswith("250")
        client.say("DATA\r\n")
        await client.say_and_wait("Subject: bounce\r\n\r\nx\r\n.\r\n")
        [message] = client.store.added
        [unit] = message.units
        assert unit.route == "mx:b.test"
        assert unit.recipients[0].target == "a@b.test"
        assert unit.recipients[0].original == made
        client.say("RSET\r\n")
        assert asked(client, f"<{made}>", "spam@r.test").startswith("550 5.7.1")
        client.say("RSET\r\n")
        assert asked(client, "<SRS0=AAAAAAAA=TT=v.test=x@d1.test>", "").startswith("550 5.1.1")
        client.say("RSET\r\n")
        assert asked(client, f"<{made.replace('d1.test', 'r.test')}>", "").startswith("503 5.7.1")

    running(run())


def test_forwarded_mail_is_stored_with_the_reverse_path_it_leaves_with(
    place: Place, running: Running
) -> None:
    async def run() -> None:
        services = place.services()
        services.forwarding = FORWARDING
        client = place.connect(services=services)
        client.say("EHLO cli\r\n")
        asked(client, "<al@d1.test>")
        client.say("DATA\r\n")
        await client.say_and_wait("Subject: x\r\n\r\nx\r\n.\r\n")
        [message] = client.store.added
        paths = {unit.route: unit.recipients[0].reverse_path for unit in message.units}
        assert paths["local"] == ""
        assert paths["mx:r.test"].startswith("SRS0=")
        assert message.envelope.reverse_path == "a@b.test"

    running(run())


def relay_domains(place: Place, tmp_path: Path, text: str | None, ask: object) -> RelayDomains:
    path = tmp_path / "recipients"
    if text is not None:
        path.write_text(text)
    declared = (
        DeclaredRelayDomain(domain="listed.test", recipients=str(path)),
        DeclaredRelayDomain(domain="asked.test"),
    )
    config = replace(place.config, relay_domain=declared, relay=Relay())
    return RelayDomains(config, ask)  # type: ignore[arg-type]  # any function of the tests


@pytest.mark.parametrize(
    ("text", "local", "code"),
    [
        ("ada\nBob@listed.test # a friend\n", "Ada", "250"),
        ("ada\nBob@listed.test # a friend\n", "bob", "250"),
        ("ada\nBob@listed.test # a friend\n", "eve", "550"),
        ("", "ada", "550"),
        (None, "ada", "451"),
    ],
)
def test_recipients_of_a_relay_domain_are_looked_up_in_its_list(
    place: Place, running: Running, tmp_path: Path, text: str | None, local: str, code: str
) -> None:
    async def run() -> None:
        client = greeted(place)
        client.services.relay_domains = relay_domains(place, tmp_path, text, None)
        client.say("MAIL FROM:<a@b.test>\r\n")
        reply = await client.say_and_wait(f"RCPT TO:<{local}@listed.test>\r\n")
        assert reply.startswith(code)

    running(run())


def test_the_server_of_a_relay_domain_is_asked_once(
    place: Place, running: Running, tmp_path: Path
) -> None:
    async def run() -> None:
        questions: list[str] = []

        async def ask(address: Address) -> Existence | UnknownNow:
            questions.append(address.local)
            return {
                "ada": Existence.FOUND,
                "eve": Existence.ABSENT,
            }.get(address.local, UnknownNow("no answer"))

        client = greeted(place)
        client.services.relay_domains = relay_domains(place, tmp_path, "", ask)
        for _ in range(2):
            client.say("RSET\r\nMAIL FROM:<a@b.test>\r\n")
            for local, code in (("ada", "250"), ("eve", "550 5.1.1"), ("bob", "451 4.4.3")):
                reply = await client.say_and_wait(f"RCPT TO:<{local}@asked.test>\r\n")
                assert reply.startswith(code)
        assert questions == ["ada", "eve", "bob", "bob"]

    running(run())
