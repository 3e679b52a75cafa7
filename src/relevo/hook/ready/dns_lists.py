"""Block and allow lists of DNS: about the client's address, its name, or the sender's domain.

A zone counts where its answer is one of `answers`. One allow list that knows the client lets it in;
else the first block list that does refuses it. A zone that does not answer is a failure of the
hook, unless another one decides. Answers of 127.255.255.0/24 mean that the list does not serve us
(RFC 5782 leaves that to the lists), and count as none.

May be declared at connect, mail and rcpt. What has logged in is let in.
"""

from __future__ import annotations

import asyncio
import functools
from ipaddress import ip_address, ip_network
from typing import Literal

import dns.asyncresolver
import dns.exception
import dns.name
import dns.resolver
import dns.reversename

from relevo.hook import ConnectContext, MailContext, RcptContext, Reject, Settings, settings

_CACHED = 20_000
_REFUSALS = ip_network("127.255.255.0/24")
_REVERSED = {4: dns.name.from_text("in-addr.arpa."), 6: dns.name.from_text("ip6.arpa.")}


class ListFailed(Exception):
    """A zone gave no answer; the text says which."""


class Zone(Settings, frozen=True):
    """One list. `of`: what it is asked about. `answers`: networks of answers that count."""

    zone: str
    kind: Literal["block", "allow"] = "block"
    of: Literal["client", "hello", "sender"] = "client"
    answers: tuple[str, ...] = ("127.0.0.0/8",)
    text: str = ""


class DnsListsSettings(Settings, frozen=True):
    """`servers`: of DNS, `IP` or `IP:PORT`; none: the system's."""

    zones: tuple[Zone, ...]
    servers: tuple[str, ...] = ()
    timeout: float = 5.0


async def connect(context: ConnectContext) -> None:
    await judge(settings(DnsListsSettings), context.client.ip)


async def mail(context: MailContext) -> None:
    if not context.auth:
        await _judge_sender(context)


async def rcpt(context: RcptContext) -> None:
    if not context.auth:
        await _judge_sender(context)


async def _judge_sender(context: MailContext | RcptContext) -> None:
    sender = context.reverse_path.rpartition("@")[2].strip("<>")
    hello = context.client.hello_name
    await judge(settings(DnsListsSettings), context.client.ip, hello=hello, sender=sender)


async def judge(
    chosen: DnsListsSettings, client: str, *, hello: str = "", sender: str = ""
) -> None:
    """Ask all zones at once. Raises Reject, and ListFailed where none decides and some failed."""
    known = {"client": client, "hello": hello, "sender": sender}
    zones = [zone for zone in chosen.zones if known[zone.of]]
    asked = [is_listed(chosen, zone, known[zone.of]) for zone in zones]
    found = dict(zip(map(id, zones), await asyncio.gather(*asked), strict=True))
    if any(found[id(zone)] is True for zone in zones if zone.kind == "allow"):
        return
    for zone in zones:
        if zone.kind == "block" and found[id(zone)] is True:
            raise Reject(zone.text or f"{known[zone.of][:100]} is listed in {zone.zone}")
    failed = [zone.zone for zone in zones if found[id(zone)] is None]
    if failed:
        raise ListFailed(f"no answer from {', '.join(failed)}")


async def is_listed(chosen: DnsListsSettings, zone: Zone, about: str) -> bool | None:
    """Whether the zone knows it; None: it does not answer."""
    try:
        name = _question(zone, about)
    except (dns.exception.DNSException, ValueError, UnicodeError):
        return False  # no name of DNS
    try:
        answer = await _resolver(chosen).resolve(name, "A", search=False)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return False
    except (dns.exception.DNSException, OSError):
        return None
    addresses = [ip_address(record.address) for record in answer]
    wanted = [ip_network(network, strict=False) for network in zone.answers]
    if all(address in _REFUSALS for address in addresses):
        return None
    return any(a in network and a not in _REFUSALS for a in addresses for network in wanted)


def _question(zone: Zone, about: str) -> dns.name.Name:
    origin = dns.name.from_text(zone.zone)
    if zone.of != "client":
        return dns.name.from_text(about.rstrip("."), origin)
    client = ip_address(about)
    backwards = dns.reversename.from_address(about)
    return backwards.relativize(_REVERSED[client.version]).derelativize(origin)


@functools.lru_cache(maxsize=1)
def _made(servers: tuple[str, ...], timeout_s: float) -> dns.asyncresolver.Resolver:
    resolver = dns.asyncresolver.Resolver(configure=not servers)
    if servers:
        hosts = [_host_and_port(server) for server in servers]
        resolver.nameservers = [host for host, _ in hosts]
        resolver.nameserver_ports = dict(hosts)
    resolver.lifetime = timeout_s
    resolver.timeout = timeout_s / 2
    resolver.cache = dns.resolver.LRUCache(_CACHED)
    return resolver


def _resolver(chosen: DnsListsSettings) -> dns.asyncresolver.Resolver:
    return _made(chosen.servers, chosen.timeout)


def _host_and_port(server: str) -> tuple[str, int]:
    host, colon, port = server.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):
        return server.strip("[]"), 53
    return host.strip("[]"), int(port)
