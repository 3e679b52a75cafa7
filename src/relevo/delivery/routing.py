"""From final targets to units: what one attempt serves.

| target | route | unit |
|---|---|---|
| mail to a local domain, or to none | `local` | one a message |
| pipe | `pipe` | one a command |
| mail to another domain | `mx:DOMAIN` | one a domain |
| the same, where a rule says so | `smarthost:NAME`, `lmtp:NAME` | one a name |
| via | `via:SERVER,SERVER` | one a list of servers |

A pure function. The same target reached from two forward-paths is served once, for the first.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, assert_never

from relevo.directory import MailTarget, PipeTarget, Target, ViaTarget
from relevo.queue.store import NewUnit, QueuedRecipient, TargetKind
from relevo.value import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from relevo.mail import Address

LOCAL = "local"
PIPE = "pipe"
MX = "mx"
VIA = "via"
SMARTHOST = "smarthost"
LMTP = "lmtp"


@dataclass(frozen=True, slots=True)
class ExpandedTarget:
    """A final target and the accepted forward-path it came from, with that one's parameters."""

    target: Target
    original: Address
    notify: tuple[str, ...] = ()
    orcpt: str = ""


def route_kind(route: str) -> str:
    """The part of a route that chooses the agent: `mx` of `mx:example.org`."""
    return route.partition(":")[0]


def to_exchangers(domain: str) -> str:
    """The route of mail to another domain where no rule says otherwise."""
    return f"{MX}:{domain}"


def plan_units(
    targets: Iterable[ExpandedTarget],
    *,
    is_local: Callable[[str], bool],
    now: float,
    route_of: Callable[[str], str] = to_exchangers,
    rewrite: Callable[[Address], str] | None = None,
) -> tuple[NewUnit, ...]:
    """Group the recipients of a message into units, in the order of their first recipients.

    `route_of` gives the route of mail to another domain (see `RouteTable`), `rewrite` the
    reverse-path that mail for a forward-path leaves with (see `Forwarding`).
    """
    targets = tuple(targets)

    if len(targets) == 1:  # the ordinary message
        (only,) = targets
        route = (
            PIPE if isinstance(only.target, PipeTarget) else _group(only.target, is_local, route_of)
        )
        return (NewUnit(route, (_leaving(only, route, rewrite),), now),)
    groups: dict[str, list[QueuedRecipient]] = {}
    seen: set[tuple[TargetKind, str, tuple[str, ...]]] = set()
    for expanded in targets:
        group = _group(expanded.target, is_local, route_of)
        recipient = _leaving(expanded, group, rewrite)
        identity = (recipient.kind, recipient.target, recipient.servers)
        if identity in seen:
            continue
        seen.add(identity)
        groups.setdefault(group, []).append(recipient)
    return tuple(
        NewUnit(PIPE if route_kind(group) == PIPE else group, tuple(recipients), now)
        for group, recipients in groups.items()
    )


def _leaving(
    expanded: ExpandedTarget, route: str, rewrite: Callable[[Address], str] | None
) -> QueuedRecipient:
    """The recipient, with the reverse-path for it where the route leads to another server."""
    recipient = _recipient(expanded)
    if rewrite is None or route_kind(route) in {LOCAL, PIPE}:
        return recipient
    return replace(recipient, reverse_path=rewrite(expanded.original))


def _recipient(expanded: ExpandedTarget) -> QueuedRecipient:
    original = str(expanded.original)
    match expanded.target:
        case MailTarget(address):
            kind, target, servers = TargetKind.MAIL, str(address), ()
        case PipeTarget(words):
            kind, target, servers = TargetKind.PIPE, " ".join(words), ()
        case ViaTarget(address, servers):
            return QueuedRecipient(
                TargetKind.VIA, str(address), original, servers, expanded.notify, expanded.orcpt
            )
        case unreachable:
            assert_never(unreachable)
    return QueuedRecipient(kind, target, original, servers, expanded.notify, expanded.orcpt)


def _group(target: Target, is_local: Callable[[str], bool], route_of: Callable[[str], str]) -> str:
    """The route; for a pipe with its command, so that each is a unit of its own."""
    match target:
        case MailTarget(address):
            if not address.domain or is_local(address.domain):
                return LOCAL
            return route_of(address.domain)
        case PipeTarget(words):
            return f"{PIPE}:{' '.join(words)}"
        case ViaTarget(_, servers):
            return f"{VIA}:{','.join(servers)}"
        case unreachable:
            assert_never(unreachable)
