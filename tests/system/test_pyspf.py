"""pyspf and we come to the same results, over a real name server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from ipaddress import ip_address

import dns.resolver
import pytest
import spf

from harness.dns_zones import DnsServer, start_dns
from harness.processes import reaping
from relevo.dns import Resolver, parse_server
from relevo.mailauth import check_host

pytestmark = [
    pytest.mark.needs_debian("nsd"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # its, of dnspython
]

V4, V6 = "192.0.2.7", "2001:db8::7"
# name and record; the client has 192.0.2.7 or 2001:db8::7, and is mail.good.test
POLICIES = {
    "ip": "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all",
    "one": "v=spf1 ip4:192.0.2.7 -all",
    "other": "v=spf1 ip4:192.0.2.8 -all",
    "soft": "v=spf1 ~all",
    "neutral": "v=spf1 ?all",
    "open": "v=spf1 +all",
    "nothing": "v=spf1",
    "a": "v=spf1 a:mail.good.test -all",
    "a-prefix": "v=spf1 a:near.good.test/24//32 -all",
    "a-none": "v=spf1 a:nowhere.good.test ~all",
    "mx": "v=spf1 mx:good.test -all",
    "mx-prefix": "v=spf1 mx:near.test/24 -all",
    "ptr": "v=spf1 ptr:good.test -all",
    "exists": "v=spf1 exists:%{ir}.list.test -all",
    "exists-not": "v=spf1 exists:%{l}.list.test -all",
    "include": "v=spf1 include:one.test -all",
    "include-fail": "v=spf1 include:other.test ?all",
    "include-none": "v=spf1 include:nowhere.test -all",
    "redirect": "v=spf1 redirect=one.test",
    "redirect-none": "v=spf1 redirect=nowhere.test",
    "redirect-late": "v=spf1 redirect=other.test ip4:192.0.2.7",
    "chain": "v=spf1 include:include.test include:ip.test -all",
    "loop": "v=spf1 include:loop.test -all",
    "eleven": "v=spf1 " + "a:x.good.test " * 11 + "-all",
    "void": "v=spf1 a:v1.test a:v2.test a:v3.test ip4:192.0.2.7 -all",
    "void-two": "v=spf1 a:v1.test a:v2.test ip4:192.0.2.7 -all",
    "bad-word": "v=spf1 nonsense -all",
    "bad-ip": "v=spf1 ip4:192.0.2 -all",
    "bad-prefix": "v=spf1 ip4:192.0.2.0/33 -all",
    "bad-macro": "v=spf1 exists:%{x}.test -all",
    "unknown-modifier": "v=spf1 some=thing ip4:192.0.2.7 -all",
    "capitals": "V=SPF1 IP4:192.0.2.7 -ALL",
    "not-spf": "v=spf10 -all",
    "helo-macro": "v=spf1 exists:%{h}.helo.test -all",
    "domain-macro": "v=spf1 a:%{d2}.good.test a:mail.%{o1}.test -all",
    "explained": "v=spf1 exp=why.test -all",
}
HOSTS = (
    f"mail.good A {V4}",
    f"mail.good AAAA {V6}",
    "near.good A 192.0.2.99",
    "near.good AAAA 2001:db8::99",
    "good MX 10 mail.good",
    "near MX 10 near.good",
    "7.2.0.192.list A 127.0.0.2",
    "mail.good.test.helo A 127.0.0.2",
    "x.good A 198.51.100.1",
    'two TXT "v=spf1 -all"',
    'two TXT "v=spf1 +all"',
    "none A 192.0.2.7",
)
REVERSE = ("7.2.0 PTR mail.good.test.",)
CASES = [(name, ip) for name in (*POLICIES, "two", "none", "absent") for ip in (V4, V6)]


@pytest.fixture(scope="module")
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DnsServer]:
    rows = [f'{name} TXT "{text}"' for name, text in POLICIES.items()]
    zones = {"test.": [*rows, *HOSTS], "192.in-addr.arpa.": REVERSE, "ip6.arpa.": []}
    with reaping(request) as reaper:
        yield start_dns(reaper, tmp_path_factory.mktemp("dns"), zones)


@pytest.fixture(autouse=True)
def resolver_of_pyspf(server: DnsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks dnspython's default resolver."""
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = [server.host], server.port
    monkeypatch.setattr(dns.resolver, "default_resolver", resolver)


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 30


@pytest.mark.parametrize(("name", "ip"), CASES)
def test_results_are_the_same(server: DnsServer, name: str, ip: str) -> None:
    sender, helo = f"user@{name}.test", "mail.good.test"
    theirs = spf.query(i=ip, s=sender, h=helo, strict=True, timeout=5).check()[0]

    async def run() -> str:
        resolver = Resolver([parse_server(str(server))])
        return (await check_host(ip_address(ip), sender, helo, resolver)).outcome.value

    assert asyncio.run(run()) == theirs
