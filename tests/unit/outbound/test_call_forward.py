"""Asking another server whether a recipient exists."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, ip_network
from pathlib import Path

import pytest

from harness.authority import Authority
from relevo.config import Config
from relevo.delivery import RouteTable
from relevo.directory import Existence, UnknownNow
from relevo.dns import MailExchange
from relevo.mail import Address
from relevo.outbound.call_forward import CallForward
from relevo.outbound.hosts import Finder, Own
from relevo.outbound.ways import Ways
from unit.outbound.fake_dns import FakeDns
from unit.outbound.peer_server import PeerServer, listening

ADA = Address("ada", "r.test")


async def ask(peer: PeerServer, address: Address = ADA) -> Existence | UnknownNow:
    dns = FakeDns({
        ("mx", "r.test"): (MailExchange(10, "mx.r.test"),),
        ("a", "mx.r.test"): (IPv4Address("127.0.0.1"),),
    })  # fmt: skip
    async with listening(peer):
        own, allowed = Own(frozenset(), frozenset()), (ip_network("127.0.0.0/8"),)
        asking = CallForward(
            routes=RouteTable(),
            ways=Ways(Config()),
            finder=lambda: Finder(dns, own, peer.port, allowed),
            hello_name="mx.ours.test",
            timeout_s=2,
        )
        return await asking.ask(address)


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        ({}, Existence.FOUND),
        ({b"RCPT": b"550 5.1.1 no such user\r\n"}, Existence.ABSENT),
        ({b"RCPT": b"553-no\r\n553 such user\r\n"}, Existence.ABSENT),
        ({b"RCPT": b"450 4.2.0 greylisted\r\n"}, None),
        ({b"MAIL": b"550 5.7.1 go away\r\n"}, None),
        ({b"EHLO": b"421 busy\r\n"}, None),
        ({b"EHLO": b"500 what\r\n"}, Existence.FOUND),
        ({b"EHLO": b"500 what\r\n", b"HELO": b"500 what\r\n"}, None),
        ({b"RCPT": b"garbage\r\n"}, None),
        ({b"RCPT": b"550-endless\r\n" * 200}, None),
    ],
)
def test_only_a_refused_rcpt_is_a_no(answers: dict[bytes, bytes], found: Existence | None) -> None:
    answer = asyncio.run(ask(PeerServer(answers=answers)))
    assert isinstance(answer, UnknownNow) if found is None else answer is found


def test_nothing_is_sent() -> None:
    peer = PeerServer()
    asyncio.run(ask(peer))
    assert peer.commands[:3] == [b"EHLO mx.ours.test", b"MAIL FROM:<>", b"RCPT TO:<ada@r.test>"]
    assert b"DATA" not in peer.commands


def test_it_is_asked_over_tls_where_that_is_offered(authority: Authority, tmp_path: Path) -> None:
    peer = PeerServer(context=authority.issue("mx.r.test").server_context(tmp_path))
    assert asyncio.run(ask(peer)) is Existence.FOUND
    assert peer.tls_commands[1:3] == [b"MAIL FROM:<>", b"RCPT TO:<ada@r.test>"]


@pytest.mark.parametrize("greeting", [b"", b"554 no\r\n", b"220-" + b"x" * 10_000])
def test_a_server_that_does_not_greet_is_unknown(greeting: bytes) -> None:
    assert isinstance(asyncio.run(ask(PeerServer(greeting=greeting))), UnknownNow)


def test_a_domain_without_servers_is_unknown() -> None:
    answer = asyncio.run(ask(PeerServer(), Address("ada", "elsewhere.test")))
    assert isinstance(answer, UnknownNow)
