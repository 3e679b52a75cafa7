"""Which hosts take a domain's mail, with their addresses (RFC 5321 §5.1, RFC 7505).

A domain's MX records, or the domain itself where it has none; those of one preference in random
order; at most five. Where this server is one of the hosts, by its name or by an address and port
that it listens on, only better ones are left. Addresses are those that mail may be sent to, IPv6
before IPv4. What cannot be found makes a `NoHost`, permanent only where DNS says so for sure.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from itertools import groupby
from typing import TYPE_CHECKING

from relevo.dns import DnsFailed, MailExchange, Outcome
from relevo.mail import InvalidAddress, domain_to_ascii

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from relevo.config.listen_address import ListenAddress
    from relevo.dns import DnsLookups

_log = logging.getLogger(__name__)

MAX_HOSTS = 5
MAX_ADDRESSES = 4  # of a host

IpAddress = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network


class NoHost(Exception):
    """Nobody to connect to; the text is public. `status` is an enhanced status code."""

    def __init__(self, status: str, text: str) -> None:
        super().__init__(text)
        self.status = status

    @property
    def is_permanent(self) -> bool:
        return self.status.startswith("5")


@dataclass(frozen=True, slots=True)
class MailHost:
    """A host and its addresses, at least one. `is_secure`: DNSSEC vouches for them.

    `alias_of`: the name that it is an alias of in the end; "": it is none.
    """

    name: str  # A-labels, or an address
    port: int
    addresses: tuple[IpAddress, ...]
    is_secure: bool = False
    alias_of: str = ""


@dataclass(frozen=True, slots=True)
class MailHosts:
    """Hosts in the order in which to try them. `is_secure`: DNSSEC vouches for their names."""

    hosts: tuple[MailHost, ...]
    is_secure: bool = False


@dataclass(frozen=True, slots=True)
class Own:
    """How to tell that a host is this server. `listening`: None stands for all addresses."""

    names: frozenset[str]
    listening: frozenset[tuple[IpAddress | None, int]]

    def has_name(self, host: str) -> bool:
        return host.lower() in self.names

    def has_address(self, address: IpAddress, port: int) -> bool:
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if (address, port) in self.listening:
            return True
        return (None, port) in self.listening and is_of_this_machine(address)


@dataclass(frozen=True, slots=True)
class Finder:
    """Finds hosts by DNS. `allowed`: networks that may be sent to although they are not public."""

    lookups: DnsLookups
    own: Own
    port: int
    allowed: tuple[IpNetwork, ...] = ()
    shuffle: Callable[[list[MailExchange]], None] = random.shuffle

    async def of_domain(self, domain: str) -> MailHosts:
        """The hosts of a domain or address literal. Raises NoHost."""
        if domain.startswith("["):
            return self._of_literal(domain)
        try:
            name = domain_to_ascii(domain)
        except InvalidAddress as error:
            raise NoHost("5.1.2", f"{domain} cannot be looked up: {error}") from error
        try:
            answer = await self.lookups.mx(name)
        except DnsFailed as error:
            raise NoHost("4.4.3", f"the mail servers of {domain} cannot be looked up") from error
        if answer.outcome is Outcome.NO_SUCH_NAME:
            raise NoHost("5.1.2", f"there is no domain {domain}")
        if answer.records and not any(record.host for record in answer.records):
            raise NoHost("5.1.10", f"{domain} takes no mail (null MX)")
        records = [record for record in answer.records if record.host]
        exchanges = self._in_order(records or [MailExchange(0, name)])
        hosts = await self._resolved(exchanges, domain)
        return MailHosts(hosts, answer.is_authenticated)

    async def of_servers(self, servers: Sequence[ListenAddress]) -> MailHosts:
        """Servers that the operator named, wherever they are; port 0: the usual. Raises NoHost."""
        hosts = []
        is_known = True
        for server in servers:
            port = server.port or self.port
            try:
                host = await self._addressed(server.host, port)
            except DnsFailed:
                is_known = False
                continue
            if host.addresses:
                hosts.append(replace(host, addresses=host.addresses[:MAX_ADDRESSES]))
        if not hosts:
            why = "have no address" if is_known else "cannot be looked up"
            raise NoHost("4.4.3", f"{', '.join(map(_shown, servers))} {why}")
        return MailHosts(tuple(hosts), is_secure=True)

    def _of_literal(self, domain: str) -> MailHosts:
        text = domain[1:-1]
        try:
            address = ip_address(text[5:] if text[:5].lower() == "ipv6:" else text)
        except ValueError as error:
            raise NoHost("5.1.2", f"{domain} is no address") from error
        if self.own.has_address(address, self.port):
            raise NoHost("5.4.6", f"mail for {domain} would come back to this server")
        if not self._may_be_used(address):
            raise NoHost("5.4.4", f"{domain} is not a public address")
        return MailHosts((MailHost(str(address), self.port, (address,)),))

    def _in_order(self, records: list[MailExchange]) -> list[MailExchange]:
        """By preference, equal ones shuffled, none that is not better than this server."""
        ordered = []
        records = sorted(records, key=lambda record: record.preference)
        for _, equal in groupby(records, key=lambda record: record.preference):
            group = list(equal)
            if any(self.own.has_name(record.host) for record in group):
                break
            self.shuffle(group)
            ordered += group
        return ordered

    async def _resolved(self, exchanges: list[MailExchange], domain: str) -> tuple[MailHost, ...]:
        """The hosts that can be connected to. Raises NoHost where there is none."""
        if not exchanges:
            raise NoHost("5.4.6", f"mail for {domain} would come back to this server")
        exchanges = exchanges[:MAX_HOSTS]
        found = await asyncio.gather(*(self._host(exchange) for exchange in exchanges))
        ours = (
            exchange.preference
            for exchange, host in zip(exchanges, found, strict=True)
            if isinstance(host, MailHost) and self._is_own(host)
        )
        own_preference = min(ours, default=None)
        if own_preference is not None:
            found = [
                host
                for exchange, host in zip(exchanges, found, strict=True)
                if exchange.preference < own_preference
            ]
        usable = tuple(
            kept for host in found if isinstance(host, MailHost) and (kept := self._usable(host))
        )
        if usable:
            return usable
        failures = [host for host in found if isinstance(host, NoHost)]
        if own_preference is not None and not failures:
            raise NoHost("5.4.6", f"mail for {domain} would come back to this server")
        unknown = next((failure for failure in failures if not failure.is_permanent), None)
        if unknown is not None:
            raise unknown
        if len(failures) < len(found):
            _log.warning(
                "the mail servers of %s have no public address; outbound.allow_addresses can "
                "allow others", domain,
            )  # fmt: skip
            raise NoHost("5.4.4", f"the mail servers of {domain} have no public address")
        raise failures[0]

    async def _host(self, exchange: MailExchange) -> MailHost | NoHost:
        if not exchange.host:
            return NoHost("5.4.4", "an MX record names no host")
        try:
            host = await self._addressed(exchange.host, self.port)
        except DnsFailed:
            return NoHost("4.4.3", f"the address of {exchange.host} cannot be looked up")
        if not host.addresses:
            return NoHost("5.4.4", f"the mail server {exchange.host} has no address")
        return host

    async def _addressed(self, host: str, port: int) -> MailHost:
        """With all its addresses, IPv6 first. Raises DnsFailed when there may be others."""
        try:
            return MailHost(host, port, (ip_address(host),))
        except ValueError:
            pass
        six, four = await asyncio.gather(
            self.lookups.aaaa(host), self.lookups.a(host), return_exceptions=True
        )
        for answer in (six, four):
            if isinstance(answer, BaseException) and not isinstance(answer, DnsFailed):
                raise answer
        known = [answer for answer in (six, four) if not isinstance(answer, BaseException)]
        addresses = tuple(address for answer in known for address in answer.records)
        if not addresses and len(known) < 2:
            raise next(answer for answer in (six, four) if isinstance(answer, DnsFailed))
        found = [answer for answer in known if answer.records]
        is_secure = bool(found) and all(answer.is_authenticated for answer in found)
        alias_of = next((answer.canonical for answer in found if answer.canonical), "")
        return MailHost(host, port, addresses, is_secure, alias_of)

    def _is_own(self, host: MailHost) -> bool:
        return any(self.own.has_address(address, host.port) for address in host.addresses)

    def _usable(self, host: MailHost) -> MailHost | None:
        """With those addresses only that mail may be sent to; None: there is none."""
        addresses = tuple(filter(self._may_be_used, host.addresses))[:MAX_ADDRESSES]
        return replace(host, addresses=addresses) if addresses else None

    def _may_be_used(self, address: IpAddress) -> bool:
        return is_public(address) or any(address in network for network in self.allowed)


def is_public(address: IpAddress) -> bool:
    """A global unicast address, also after all translations that IPv6 has for IPv4."""
    if isinstance(address, IPv6Address):
        embedded = address.ipv4_mapped or address.sixtofour or _translated(address)
        if embedded is not None:
            return is_public(embedded)
        if address.teredo is not None:
            return False
        if address.is_site_local:  # deprecated, and global to Python
            return False
    return address.is_global and not (
        address.is_multicast or address.is_reserved or address.is_unspecified
    )


_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052 §2.1


def _translated(address: IPv6Address) -> IPv4Address | None:
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None


def is_of_this_machine(address: IpAddress) -> bool:
    """Can a socket here have this address?"""
    if not _can_bind(address):
        return False
    # Where sockets may have any address (ip_nonlocal_bind), one that is of this machine is the one
    # that the kernel would take to speak to itself.
    return not _can_bind(_NOBODYS[address.version]) or _source_towards(address) == str(address)


# documentation only (RFC 5737, RFC 3849): no machine has them
_NOBODYS: dict[int, IpAddress] = {4: IPv4Address("192.0.2.1"), 6: IPv6Address("2001:db8::1")}


def _can_bind(address: IpAddress) -> bool:
    try:
        with socket.socket(_family(address), socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


def _source_towards(address: IpAddress) -> str:
    """The local address of a socket that speaks to `address`; nothing is sent."""
    try:
        with socket.socket(_family(address), socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
            return str(probe.getsockname()[0])
    except OSError:
        return ""


def _family(address: IpAddress) -> socket.AddressFamily:
    return socket.AF_INET6 if address.version == 6 else socket.AF_INET


def _shown(server: ListenAddress) -> str:
    return str(server) if server.port else server.host
