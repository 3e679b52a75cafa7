"""Where the units of a route go: the next hop with what it needs, from the configuration.

| route | next hop |
|---|---|
| `mx:DOMAIN` | the mail exchangers of the domain |
| `via:SERVER,…` | the servers of a `via` alias, in order |
| `smarthost:NAME` | the servers of `outbound.smarthost` or of a `[[route]]` |
| `lmtp:NAME` | the same, speaking LMTP |

Mail that was queued under another configuration takes the way that it would take now.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from relevo.config.convert import BadValue
from relevo.config.outbound_rules import parse_server
from relevo.delivery.route_rules import route_name, route_table, smarthost_route
from relevo.delivery.routing import LMTP, MX, SMARTHOST, VIA
from relevo.outbound.credentials import Credentials, Mechanism
from relevo.outbound.host_tls import ANY_TLS, HostTls, Need

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relevo.config import Config
    from relevo.config.listen_address import ListenAddress

_log = logging.getLogger(__name__)

_MAX_CREDENTIALS = 16 * 1024  # octets of a file


class WayUnusable(Exception):
    """The configuration does not lead there now. The text is public, the log has the rest."""


@dataclass(frozen=True, slots=True)
class Way:
    """A next hop. What is remembered of it is remembered under `name`.

    Either `domain`, whose mail exchangers are asked for, or `servers`. `tls`: the demand on
    servers; for `via` and a domain it is the policy of `policy_domain`.
    """

    name: str
    domain: str = ""
    servers: tuple[ListenAddress, ...] = ()
    policy_domain: str = ""
    tls: HostTls = ANY_TLS
    credentials_file: str = ""
    sources: tuple[str, ...] = ()
    is_lmtp: bool = False

    def __str__(self) -> str:
        return self.domain or ", ".join(map(str, self.servers))

    @property
    def kind_of_link(self) -> tuple[str, ...]:
        """Connections of one next hop serve only ways of which this is the same."""
        return (self.policy_domain, *self.sources)

    def source_for(self, address_version: int) -> str:
        """The local address to connect from to an address of IPv4 (4) or IPv6 (6)."""
        wants_six = address_version == 6
        return next((source for source in self.sources if (":" in source) == wants_six), "")


class Ways:
    """The ways of one configuration."""

    def __init__(self, config: Config) -> None:
        self._sources = config.outbound.source_addresses
        self._table = route_table(config)
        self._named = dict(_named_ways(config))

    def of_route(
        self, route: str, domain: str, reverse_path: str, *, is_bound: bool = False
    ) -> Way:
        """The way of a route, for recipients of a domain. Raises WayUnusable.

        Unless it `is_bound`, mail to the mail exchangers of a domain takes the way that it would
        take if it came now.
        """
        kind, _, rest = route.partition(":")
        if kind == VIA:
            servers = _servers_of_alias(rest)
            return Way(route, servers=servers, policy_domain=domain, sources=self._sources)
        if kind in {SMARTHOST, LMTP} and route in self._named:
            return self._named[route]
        if kind == MX:
            domain = rest
        if not is_bound and self._table.rules:
            now = self._table.for_sender(reverse_path)(domain)
            if now in self._named:
                return self._named[now]
        return self._way_of_domain(domain, reverse_path)

    def _way_of_domain(self, domain: str, reverse_path: str) -> Way:
        rule = self._table.rule(domain, reverse_path) if self._table.rules else None
        sources = (rule.source,) if rule is not None and rule.source else self._sources
        return Way(f"{MX}:{domain}", domain=domain, policy_domain=domain, sources=sources)


def _named_ways(config: Config) -> Iterator[tuple[str, Way]]:
    outbound = config.outbound
    for declared in config.route:
        if not declared.servers:
            continue
        sources = (declared.source_address,) if declared.source_address else ()
        name = route_name(declared)
        yield (
            name,
            Way(
                name,
                servers=tuple(map(parse_server, declared.servers)),
                tls=demand(declared.tls),
                credentials_file=declared.credentials,
                sources=sources or outbound.source_addresses,
                is_lmtp=declared.protocol == LMTP,
            ),
        )
    if outbound.smarthost:
        name = smarthost_route(outbound.smarthost)
        yield (
            name,
            Way(
                name,
                servers=tuple(map(parse_server, outbound.smarthost)),
                tls=demand(outbound.smarthost_tls),
                credentials_file=outbound.smarthost_credentials,
                sources=outbound.source_addresses,
            ),
        )


def demand(word: str) -> HostTls:
    """What a word of the configuration demands of TLS."""
    match word:
        case "best":
            return ANY_TLS
        case "encrypted":
            return HostTls(Need.ENCRYPTED, "demanded by the configuration")
        case "implicit":
            return HostTls(Need.VERIFIED, "demanded by the configuration", is_implicit=True)
        case _:
            return HostTls(Need.VERIFIED, "demanded by the configuration")


def read_credentials(path: str) -> Credentials:
    """The user and the secret in a file, a line each. Blocks. Raises WayUnusable.

    A third line `oauthbearer` says that the secret is an access token (RFC 7628).
    """
    try:
        with Path(path).open("rb") as file:
            is_exposed = Path(path).stat().st_mode & 0o007
            lines = file.read(_MAX_CREDENTIALS).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        _log.error("the credentials in %s cannot be read: %s", path, error)
        raise WayUnusable("the credentials for the next hop cannot be read") from error
    if is_exposed:
        _log.error("the credentials in %s can be read by everybody: chmod o-rwx", path)
        raise WayUnusable("the credentials for the next hop are not safe")
    if len(lines) < 2 or not lines[0] or not lines[1]:
        _log.error("%s must have the user in its first line, the password in its second", path)
        raise WayUnusable("the credentials for the next hop are incomplete")
    if len(lines) > 2 and lines[2].strip().lower() == "oauthbearer":
        return Credentials(lines[0], lines[1], (Mechanism.OAUTHBEARER,))
    return Credentials(lines[0], lines[1])


@lru_cache(maxsize=1000)
def _servers_of_alias(text: str) -> tuple[ListenAddress, ...]:
    try:
        return tuple(parse_server(server) for server in text.split(","))
    except BadValue as error:
        raise WayUnusable(error.text) from error
