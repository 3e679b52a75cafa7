"""Which hosts take a domain's mail."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest

from relevo.config.outbound_rules import parse_server
from relevo.dns import MailExchange
from relevo.outbound.hosts import (
    MAX_HOSTS,
    Finder,
    MailHosts,
    NoHost,
    Own,
    is_of_this_machine,
    is_public,
)
from unit.outbound.fake_dns import FakeDns

FOUR, FOUR_B = IPv4Address("8.8.8.8"), IPv4Address("8.8.4.4")
SIX = IPv6Address("2a00:1450::1")
NOBODY = Own(frozenset({"mx.ours.test"}), frozenset())


def dns(
    *exchanges: tuple[int, str],
    addresses: Mapping[str, object] | None = None,
    broken: tuple[str, ...] = (),
    missing: tuple[str, ...] = (),
) -> FakeDns:
    """d.test with these exchanges; every host has FOUR unless `addresses` says otherwise."""
    fake = FakeDns(broken=set(broken), missing=set(missing))
    records = tuple(MailExchange(preference, host) for preference, host in exchanges)
    fake.records["mx", "d.test"] = records
    for _, host in exchanges:
        fake.records["a", host] = (FOUR,)
    for host, found in (addresses or {}).items():
        all_of = found if isinstance(found, tuple) else (found,)
        for kind, version in (("a", 4), ("aaaa", 6)):
            fake.records[kind, host] = tuple(each for each in all_of if each.version == version)
    return fake


def find(fake: FakeDns, domain: str = "d.test", own: Own = NOBODY, allowed: str = "") -> MailHosts:
    networks = (ip_network(allowed),) if allowed else ()
    finder = Finder(fake, own, 25, networks, shuffle=lambda group: group.reverse())
    return asyncio.run(finder.of_domain(domain))


def names(hosts: MailHosts) -> list[str]:
    return [host.name for host in hosts.hosts]


def failure(fake: FakeDns, domain: str = "d.test", own: Own = NOBODY) -> str:
    with pytest.raises(NoHost) as caught:
        find(fake, domain, own)
    assert caught.value.is_permanent == caught.value.status.startswith("5")
    return caught.value.status


def test_better_preferences_come_first_and_equal_ones_are_shuffled() -> None:
    fake = dns((20, "c"), (10, "a"), (10, "b"), (5, "z"))
    assert names(find(fake)) == ["z", "b", "a", "c"]


def test_at_most_five_hosts_are_tried() -> None:
    assert len(find(dns(*((n, f"h{n}") for n in range(9)))).hosts) == MAX_HOSTS


def test_a_domain_without_mx_is_its_own_host() -> None:
    hosts = find(dns(addresses={"d.test": FOUR}))
    assert names(hosts) == ["d.test"]
    assert hosts.hosts[0].port == 25


def test_ipv6_is_tried_before_ipv4() -> None:
    (host,) = find(dns((1, "h"), addresses={"h": (FOUR, SIX)})).hosts
    assert host.addresses == (SIX, FOUR)


def test_one_family_is_enough_when_the_other_cannot_be_looked_up() -> None:
    fake = dns((1, "h"))

    async def fail(_name: str) -> object:
        return fake._answer("aaaa", "broken")

    fake.broken.add("broken")
    fake.aaaa = fail  # type: ignore[assignment,method-assign]  # one of two look-ups fails
    assert find(fake).hosts[0].addresses == (FOUR,)


@pytest.mark.parametrize(
    ("fake", "status"),
    [
        pytest.param(dns(missing=("d.test",)), "5.1.2", id="no such domain"),
        pytest.param(dns((0, "")), "5.1.10", id="null MX"),
        pytest.param(dns(), "5.4.4", id="neither MX nor address"),
        pytest.param(dns((1, "h"), addresses={"h": ()}), "5.4.4", id="a host without address"),
        pytest.param(dns(broken=("d.test",)), "4.4.3", id="MX cannot be looked up"),
        pytest.param(dns((1, "h"), broken=("h",)), "4.4.3", id="address cannot be looked up"),
        pytest.param(
            dns((1, "h"), (2, "i"), addresses={"i": ()}, broken=("h",)), "4.4.3", id="perhaps"
        ),
        pytest.param(
            dns((1, "h"), addresses={"h": IPv4Address("10.0.0.1")}), "5.4.4", id="private"
        ),
        pytest.param(dns((1, "mx.ours.test"), (2, "h")), "5.4.6", id="only this server"),
    ],
)
def test_where_nobody_takes_the_mail(fake: FakeDns, status: str) -> None:
    assert failure(fake) == status


def test_a_host_that_cannot_be_looked_up_is_left_out() -> None:
    assert names(find(dns((1, "h"), (2, "i"), broken=("h",)))) == ["i"]


def test_hosts_that_are_not_better_than_this_server_are_left_out() -> None:
    fake = dns((1, "best"), (5, "MX.ours.test"), (5, "equal"), (9, "worse"))
    assert names(find(fake)) == ["best"]


def test_this_server_is_known_by_its_listening_address_under_any_name() -> None:
    own = Own(frozenset(), frozenset({(FOUR_B, 25)}))
    fake = dns((1, "best"), (5, "alias"), (9, "worse"), addresses={"alias": FOUR_B})
    assert names(find(fake, own=own)) == ["best"]
    other_port = Own(frozenset(), frozenset({(FOUR_B, 2525)}))
    assert names(find(fake, own=other_port)) == ["best", "alias", "worse"]


def test_loopback_alone_is_not_this_server() -> None:
    fake = dns((1, "h"), addresses={"h": ip_address("127.0.0.9")})
    listening = Own(frozenset(), frozenset({(ip_address("127.0.0.1"), 25)}))
    assert names(find(fake, own=listening, allowed="127.0.0.0/8")) == ["h"]
    everywhere = Own(frozenset(), frozenset({(None, 25)}))
    assert failure(fake, own=everywhere) == "5.4.6"


def test_an_address_of_ours_written_as_ipv6_is_ours() -> None:
    fake = dns((1, "h"), addresses={"h": IPv6Address("::ffff:8.8.8.8")})
    listening = Own(frozenset(), frozenset({(ip_address("8.8.8.8"), 25)}))
    assert failure(fake, own=listening) == "5.4.6"


def test_where_sockets_may_have_any_address_not_all_are_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The sysctl ip_nonlocal_bind, as machines that share an address have it."""
    monkeypatch.setattr("relevo.outbound.hosts._can_bind", lambda _address: True)
    assert is_of_this_machine(ip_address("127.0.0.1"))
    assert not is_of_this_machine(FOUR)


def test_addresses_of_this_machine_are_recognized() -> None:
    assert is_of_this_machine(ip_address("127.0.0.1"))
    assert not is_of_this_machine(FOUR)


@pytest.mark.parametrize(
    ("literal", "status"), [("[10.0.0.1]", "5.4.4"), ("[x]", "5.1.2"), ("[ipv6:::1]", "5.4.4")]
)
def test_address_literals_that_cannot_be_used(literal: str, status: str) -> None:
    assert failure(FakeDns(), literal) == status


@pytest.mark.parametrize("literal", ["[8.8.8.8]", "[ipv6:2a00:1450::1]"])
def test_an_address_literal_is_its_own_host(literal: str) -> None:
    fake = FakeDns()
    (host,) = find(fake, literal).hosts
    assert host.addresses == (ip_address(host.name),)
    assert fake.asked == []


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("8.8.8.8", True),
        ("2a00:1450::1", True),
        ("127.0.0.1", False),
        ("10.1.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("0.0.0.0", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("fe80::1", False),
        ("fc00::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::808:808", True),
        ("::127.0.0.1", False),
        ("64:ff9b:1::7f00:1", False),
        ("fec0::1", False),
        ("2002:7f00:1::", False),
        ("2001:0:7f00:1::", False),
    ],
)
def test_only_global_unicast_addresses_are_public(address: str, expected: bool) -> None:
    assert is_public(ip_address(address)) is expected


def servers(fake: FakeDns, *texts: str) -> MailHosts:
    finder = Finder(fake, NOBODY, 25)
    return asyncio.run(finder.of_servers(tuple(map(parse_server, texts))))


def test_servers_of_the_configuration_may_be_anywhere_and_have_ports() -> None:
    fake = FakeDns({("a", "relay.test"): (IPv4Address("10.0.0.1"),)})
    hosts = servers(fake, "relay.test:587", "127.0.0.1", "[::1]:26").hosts
    assert [(host.name, host.port) for host in hosts] == [
        ("relay.test", 587),
        ("127.0.0.1", 25),
        ("::1", 26),
    ]


def test_servers_that_cannot_be_found_are_waited_for() -> None:
    with pytest.raises(NoHost) as caught:
        servers(FakeDns(broken={"relay.test"}), "relay.test", "other.test")
    assert caught.value.status == "4.4.3"
