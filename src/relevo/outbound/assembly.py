"""The agents for mail to other servers, as a configuration wants them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from relevo.delivery.route_rules import route_table
from relevo.outbound.agent import KINDS, Protection, RemoteAgent
from relevo.outbound.call_forward import CallForward
from relevo.outbound.destinations import HopLimits, NextHops
from relevo.outbound.hosts import Finder, IpAddress, Own
from relevo.outbound.ownership import owners_of_each
from relevo.outbound.peer import Destination, open_peer
from relevo.outbound.tls_contexts import TlsContexts
from relevo.outbound.ways import Way, Ways, read_credentials
from relevo.smtp import ClientSettings

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Mapping

    from relevo.config import Config
    from relevo.delivery.attempt import Agent
    from relevo.delivery.peer_link import PeerLink
    from relevo.dns import DnsLookups
    from relevo.outbound.host_tls import HostTls


@dataclass(frozen=True, slots=True)
class RemoteSurroundings:
    """What the agents of a worker need beside the configuration.

    `lookups` gives the resolver in use; `listening` is where this server listens; `workers`: how
    many there are, of whom some share each destination (`relevo.outbound.ownership`).
    """

    lookups: Callable[[], DnsLookups]
    listening: tuple[tuple[str, int], ...]
    workers: int
    protection: Protection | None
    contexts: TlsContexts


class RemoteAgents:
    """Makes the agents of a configuration; one whose part of it is unchanged is kept."""

    def __init__(self, around: RemoteSurroundings) -> None:
        self._around = around
        self._made_from: object = None
        self._agent: RemoteAgent | None = None

    def make(self, config: Config) -> Mapping[str, Agent]:
        """An agent for each kind of route to other servers."""
        made_from = (config.outbound, config.route, config.hostname)
        if self._agent is None or made_from != self._made_from:
            self._agent = self._make(config)
            self._made_from = made_from
        return dict.fromkeys(KINDS, self._agent)

    def _make(self, config: Config) -> RemoteAgent:
        around, outbound = self._around, config.outbound
        own = own_addresses(config.hostname, around.listening)
        allowed = tuple(map(ip_network, outbound.allow_addresses))
        return RemoteAgent(
            ways=Ways(config),
            finder=lambda: Finder(around.lookups(), own, outbound.port, allowed),
            hops=NextHops(hop_limits(config, around.workers)),
            open_peer=_Opener(outbound.helo_name or config.hostname, around.contexts),
            protection=around.protection,
        )


def call_forward_of(config: Config, around: RemoteSurroundings) -> CallForward:
    """Who asks other servers whether recipients exist."""
    own = own_addresses(config.hostname, around.listening)
    allowed = tuple(map(ip_network, config.outbound.allow_addresses))
    return CallForward(
        routes=route_table(config),
        ways=Ways(config),
        finder=lambda: Finder(around.lookups(), own, config.outbound.port, allowed),
        hello_name=config.outbound.helo_name or config.hostname,
        timeout_s=config.relay.verify_timeout.total_seconds(),
    )


class _Opener:
    """`open_peer` with our name, contexts and the way's credentials."""

    def __init__(self, hello_name: str, contexts: TlsContexts) -> None:
        self._contexts = contexts
        self._smtp = ClientSettings(hello_name=hello_name, uses_chunking=True)
        self._lmtp = ClientSettings(hello_name=hello_name, is_lmtp=True)

    async def __call__(self, destination: Destination, tls: HostTls, way: Way) -> PeerLink:
        credentials = None
        if way.credentials_file:
            credentials = await asyncio.to_thread(read_credentials, way.credentials_file)
        settings = self._lmtp if way.is_lmtp else self._smtp
        return await open_peer(destination, tls, settings, self._contexts, credentials)


def hop_limits(config: Config, workers: int) -> HopLimits:
    """What a worker may do of what a destination takes from the whole server."""
    outbound = config.outbound
    owners = owners_of_each(outbound.max_per_destination, workers)
    return HopLimits(
        width=outbound.max_per_destination // owners,
        per_minute=outbound.max_per_minute / owners,
        reuse=outbound.reuse_limit,
        idle_s=outbound.reuse_idle.total_seconds(),
        age_s=outbound.reuse_age.total_seconds(),
        first_rest_s=outbound.back_off_first.total_seconds(),
        longest_rest_s=outbound.back_off_longest.total_seconds(),
    )


def own_addresses(hostname: str, listening: Iterable[tuple[str, int]]) -> Own:
    """How to tell this server from others."""
    found: set[tuple[IpAddress | None, int]] = set()
    for host, port in listening:
        address = ip_address(host.partition("%")[0])
        found.add((None if address.is_unspecified else address, port))
    return Own(frozenset({hostname.lower()}), frozenset(found))


def listening_at(sockets: Iterable[socket.socket]) -> tuple[tuple[str, int], ...]:
    """Address and port of each listener; those on Unix sockets have none."""
    names = (listener.getsockname() for listener in sockets)
    return tuple((name[0], name[1]) for name in names if isinstance(name, tuple))
