"""Which mail to other domains takes another way than the domain's mail exchangers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relevo.delivery.routing import LMTP, SMARTHOST, to_exchangers
from relevo.mail import domain_to_ascii
from relevo.value import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from relevo.config import Config
    from relevo.config.outbound_model import DeclaredRoute


@dataclass(frozen=True, slots=True)
class RouteRule:
    """Mail to these domains from those takes this route; patterns as in `DeclaredRoute`."""

    route: str
    recipients: tuple[str, ...] = ()
    senders: tuple[str, ...] = ()
    source: str = ""  # the local address to connect from

    def fits(self, domain: str, sender_domain: str) -> bool:
        return _fits(self.recipients, domain) and _fits(self.senders, sender_domain)


@dataclass(frozen=True, slots=True)
class RouteTable:
    """Which mail to other domains does not go to their mail exchangers; the first rule that fits.

    A rule whose route is "" leaves it at the mail exchangers.
    """

    rules: tuple[RouteRule, ...] = ()

    def rule(self, domain: str, reverse_path: str) -> RouteRule | None:
        """The rule for mail to a domain from an address, both in normal form."""
        name = domain_to_ascii(domain)
        sender = domain_to_ascii(reverse_path.rpartition("@")[2])
        return next((rule for rule in self.rules if rule.fits(name, sender)), None)

    def for_sender(self, reverse_path: str) -> Callable[[str], str]:
        """Gives the route to each domain, for `plan_units`."""
        if not self.rules:
            return to_exchangers

        def route_of(domain: str) -> str:
            rule = self.rule(domain, reverse_path)
            return to_exchangers(domain) if rule is None or not rule.route else rule.route

        return route_of


def _fits(patterns: tuple[str, ...], domain: str) -> bool:
    """Patterns are in A-labels; none: every domain."""
    return not patterns or any(
        pattern in {"*", domain} or (pattern[:2] == "*." and domain.endswith(pattern[1:]))
        for pattern in patterns
    )


def route_table(config: Config) -> RouteTable:
    """Which mail takes which route."""
    rules = [
        RouteRule(route_name(route), route.recipients, route.senders, route.source_address)
        for route in config.route
    ]
    if config.outbound.smarthost:
        rules.append(RouteRule(smarthost_route(config.outbound.smarthost)))
    return RouteTable(tuple(rules))


def route_name(route: DeclaredRoute) -> str:
    """What units that take it have as their route; "": the mail exchangers."""
    if not route.servers:
        return ""
    kind = LMTP if route.protocol == LMTP else SMARTHOST
    return f"{kind}:{route.name or ','.join(route.servers)}"


def smarthost_route(servers: Iterable[str]) -> str:
    """The route of all mail that no rule is about."""
    return f"{SMARTHOST}:{','.join(servers)}"
