"""Connections that wait at one next hop and may serve another with the same mail server.

Very many domains have their mail exchangers at few hosters. Whoever sends to a domain finds its
hosts and what is demanded of them as always; then a connection that another domain has left may be
used, if it leads to the same host and port, from the same local address, to one of the addresses
that the host has, and was made under the very same demand on TLS: what one domain's policy allows
is never had by another's. Credentials and LMTP take no part.

A connection is kept by the next hop that used it last, with its bounds of age, idle time and number
of transactions; here is only remembered where to look. Bounded: what was offered longest ago is
forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import TYPE_CHECKING, Final

from relevo.outbound.dane import USAGE_TA

if TYPE_CHECKING:
    from collections.abc import Collection

    from relevo.outbound.destinations import IdleLink, NextHop
    from relevo.outbound.host_tls import HostTls
    from relevo.outbound.hosts import MailHost
    from relevo.outbound.ways import Way

MAX_KEYS: Final = 5_000
MAX_HOPS: Final = 16  # that are remembered for one host


def share_key(host: MailHost, way: Way, tls: HostTls) -> Hashable:
    """What two uses of a connection must have in common; None: it is not shared.

    Of usage 2 a certificate may be for the domain's own name, so that counts too.
    """
    if not way.domain or way.domain.startswith("[") or way.credentials_file or way.is_lmtp:
        return None
    has_authority = any(record.usage == USAGE_TA for record in tls.tlsa)
    names = tls.names if has_authority else ()
    return (
        host.name.lower(), host.port, way.sources, tls.need, tls.is_implicit, tls.is_offered,
        tls.tlsa, tls.server_name, names,
    )  # fmt: skip


class SharedLinks:
    """Of one worker: which next hops may have a connection under which key."""

    def __init__(self) -> None:
        self._hops: OrderedDict[Hashable, OrderedDict[int, NextHop]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._hops)

    def offer(self, key: Hashable, hop: NextHop) -> None:
        """A connection with this key waits there."""
        hops = self._hops.setdefault(key, OrderedDict())
        self._hops.move_to_end(key)
        hops[id(hop)] = hop
        hops.move_to_end(id(hop))
        if len(hops) > MAX_HOPS:
            hops.popitem(last=False)
        if len(self._hops) > MAX_KEYS:
            self._hops.popitem(last=False)

    def take(self, key: Hashable, addresses: Collection[str], now: float) -> IdleLink | None:
        """One that can be used, to one of these addresses; the one that was offered last."""
        hops = self._hops.get(key)
        while hops:
            number, hop = next(reversed(hops.items()))
            kept = hop.take_shared(key, addresses, now)
            if kept is not None:
                return kept
            del hops[number]
        self._hops.pop(key, None)
        return None
