"""One connection serves several domains with the same mail server, and no domain's rules less."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from typing import cast

import pytest

from relevo.delivery.link_values import TlsFacts
from relevo.delivery.peer_link import PeerLink
from relevo.dns import MailExchange, TlsaRecord
from relevo.journal import Outcome
from relevo.outbound.destinations import HopLimits, NextHop
from relevo.outbound.host_tls import HostTls, Need
from relevo.outbound.hosts import MailHost
from relevo.outbound.peer import Destination
from relevo.outbound.shared_links import MAX_HOPS, MAX_KEYS, SharedLinks, share_key
from relevo.outbound.tls_policy import DomainTls
from relevo.outbound.ways import Way
from relevo.queue import SecurityLevel
from unit.outbound.test_agent import TAKEN, Link, World, answer

DOMAINS = [f"d{number}.test" for number in range(20)]
HOST = MailHost("mx.test", 25, (IPv4Address("8.8.8.8"),))
WAY = Way("mx:a.test", domain="a.test", policy_domain="a.test")


@dataclass
class Known:
    """What earlier connections to domains had; remembers what it was told."""

    levels: Mapping[str, SecurityLevel] = field(default_factory=dict)
    learnt: list[tuple[str, bool]] = field(default_factory=list)
    reported: list[str] = field(default_factory=list)

    async def for_domain(self, domain: str, *, is_mx_secure: bool = False) -> DomainTls:
        level = self.levels.get(domain, SecurityLevel.PLAIN)
        return DomainTls(domain, level, is_mx_secure=is_mx_secure)

    async def learned(self, domain: DomainTls, facts: TlsFacts) -> None:
        self.learnt.append((domain.domain, facts.is_tls))

    def report(self, domain: DomainTls, host: str, address: str, outcome: object) -> None:
        assert (host, address) == ("one", "8.8.8.8")
        assert isinstance(outcome, TlsFacts)
        self.reported.append(domain.domain)


class Hoster(World):
    """Many domains whose mail goes to one host, which has TLS where it is demanded."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for domain in DOMAINS:
            self.dns.records["mx", domain] = (MailExchange(10, "one"),)

    async def open(self, destination: Destination, tls: HostTls, way: Way) -> PeerLink:
        del way
        self.opened.append(destination.name)
        self.needs.append(tls.need)
        host = self.hosts[destination.name]
        assert isinstance(host, list)
        facts = TlsFacts("TLS-1.3", "x", "webpki") if tls.need > Need.NONE else TlsFacts()
        return cast("PeerLink", Link(host, self.sent.setdefault(destination.name, []), tls=facts))

    async def to_each(self, *domains: str) -> None:
        for domain in domains:
            (result,) = await self.deliver(f"x@{domain}", route=f"mx:{domain}")
            assert result.outcome is Outcome.DELIVERED, result


def test_twenty_domains_of_one_host_make_one_connection() -> None:
    async def scenario() -> None:
        known = Known()
        world = Hoster({"one": [answer(TAKEN)]}, protection=known)
        await world.to_each(*DOMAINS, *DOMAINS)
        assert world.opened == ["one"]
        assert len(world.sent["one"]) == 40
        assert {domain for domain, _ in known.learnt} == set(DOMAINS) == set(known.reported)
        world.agent.close()

    asyncio.run(scenario())


def test_a_domain_that_demands_more_never_uses_a_connection_that_was_made_for_less() -> None:
    async def scenario() -> None:
        known = Known({DOMAINS[1]: SecurityLevel.TLS_SECURE, DOMAINS[3]: SecurityLevel.TLS_SECURE})
        world = Hoster({"one": [answer(TAKEN)]}, protection=known)
        await world.to_each(*DOMAINS[:4])
        assert world.needs == [Need.NONE, Need.VERIFIED]
        assert known.learnt[-1] == (DOMAINS[3], True)
        assert (DOMAINS[2], True) not in known.learnt
        world.agent.close()

    asyncio.run(scenario())


def test_a_connection_is_shared_as_often_as_it_may_be_used() -> None:
    async def scenario() -> None:
        limits = HopLimits(reuse=5)
        world = Hoster({"one": [answer(TAKEN)]}, protection=Known(), limits=limits)
        await world.to_each(*DOMAINS)
        assert len(world.opened) == 4
        world.agent.close()

    asyncio.run(scenario())


def test_a_shared_connection_that_died_is_replaced_within_the_attempt() -> None:
    async def scenario() -> None:
        dead = answer(None, failure="closed", unheard=True)
        world = Hoster({"one": [answer(TAKEN), dead, answer(TAKEN)]}, protection=Known())
        await world.to_each(*DOMAINS[:2])
        assert world.opened == ["one", "one"]
        world.agent.close()

    asyncio.run(scenario())


def test_a_host_that_has_moved_is_connected_to_anew() -> None:
    async def scenario() -> None:
        world = Hoster({"one": [answer(TAKEN)]}, protection=Known())
        await world.to_each(DOMAINS[0])
        (link,) = (kept.link for kept in world.agent.hops.get(f"mx:{DOMAINS[0]}").idle)
        link.peer_address = "8.8.4.4"
        await world.to_each(DOMAINS[1])
        assert world.opened == ["one", "one"]
        world.agent.close()

    asyncio.run(scenario())


TLSA_EE, TLSA_TA = TlsaRecord(3, 1, 1, bytes(32)), TlsaRecord(2, 0, 1, bytes(32))


def demand(domain: str, *records: TlsaRecord) -> HostTls:
    return HostTls(Need.DANE, f"for {domain}", names=(domain,), tlsa=records, server_name="mx.test")


@pytest.mark.parametrize(
    ("one", "other", "is_shared"),
    [
        (HostTls(), HostTls(why="another"), True),
        (HostTls(), HostTls(Need.ENCRYPTED), False),
        (HostTls(Need.VERIFIED, "a"), HostTls(Need.VERIFIED, "b"), True),
        (demand("a.test", TLSA_EE), demand("b.test", TLSA_EE), True),
        (demand("a.test", TLSA_EE), demand("b.test", TLSA_TA), False),
        (demand("a.test", TLSA_TA), demand("b.test", TLSA_TA), False),
        (demand("a.test", TLSA_EE), HostTls(Need.VERIFIED), False),
    ],
)
def test_only_the_same_demand_is_shared(one: HostTls, other: HostTls, is_shared: bool) -> None:
    assert (share_key(HOST, WAY, one) == share_key(HOST, WAY, other)) is is_shared


def test_host_port_and_source_are_the_same_and_servers_of_the_operator_are_not_shared() -> None:
    keys = {
        share_key(HOST, WAY, HostTls()),
        share_key(replace(HOST, name="other.test"), WAY, HostTls()),
        share_key(replace(HOST, port=26), WAY, HostTls()),
        share_key(HOST, replace(WAY, sources=("192.0.2.1",)), HostTls()),
    }
    assert len(keys) == 4
    assert share_key(HOST, replace(WAY, domain=""), HostTls()) is None
    assert share_key(HOST, replace(WAY, domain="[192.0.2.1]"), HostTls()) is None
    assert share_key(HOST, replace(WAY, credentials_file="x"), HostTls()) is None


def test_what_is_remembered_is_bounded() -> None:
    shared, limits = SharedLinks(), HopLimits()
    for number in range(MAX_KEYS + 10):
        shared.offer(number, NextHop(limits))
    assert len(shared) == MAX_KEYS
    for _ in range(MAX_HOPS * 2):
        shared.offer("one", NextHop(limits))
    assert shared.take("one", {"8.8.8.8"}, 0.0) is None
    assert len(shared) == MAX_KEYS - 1
