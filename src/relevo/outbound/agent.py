"""Delivers units to other servers: finds their hosts, opens or reuses connections, judges replies.

Recipients of a unit share transactions, at most 100 in each. The hosts of a next hop are tried in
order, until all recipients are settled: a host that cannot be used, and recipients that it defers
before the message was sent, go on to the next; a permanent refusal stands. After the final dot, or
when a connection breaks in between, no other host is tried before the next attempt.

A connection that another domain has left to the same host may serve, see `shared_links`.

A next hop of which no host can be used rests (see `destinations`): its units are deferred at once.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from relevo.delivery.attempt import Result, permanent, temporary
from relevo.delivery.letter import Letter
from relevo.delivery.link_values import PLAIN
from relevo.delivery.routing import LMTP, MX, SMARTHOST, VIA
from relevo.delivery.wishes import is_relay_told
from relevo.mail import InvalidAddress, domain_to_ascii
from relevo.outbound.host_tls import HostTls, Need
from relevo.outbound.hosts import NoHost
from relevo.outbound.letter import judge, prepare, renounces_tls
from relevo.outbound.peer import Destination, PeerStep, PeerUnusable
from relevo.outbound.shared_links import SharedLinks, share_key
from relevo.outbound.tls_policy import DomainTls, HostRefused
from relevo.outbound.ways import WayUnusable
from relevo.smtp.client_events import Step
from relevo.smtp.outgoing_body import BareLineEnd

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from relevo.delivery.attempt import Attempt
    from relevo.delivery.link_values import TlsFacts, Transacted
    from relevo.delivery.pace import Pace
    from relevo.delivery.peer_link import PeerLink
    from relevo.outbound.destinations import NextHop, NextHops
    from relevo.outbound.hosts import Finder, IpAddress, MailHost, MailHosts
    from relevo.outbound.ways import Way, Ways
    from relevo.queue.store import QueuedRecipient, Unit
    from relevo.smtp.client_events import RecipientResult

_log = logging.getLogger(__name__)

KINDS = (MX, VIA, SMARTHOST, LMTP)
"""The kinds of routes that it serves."""

MAX_RECIPIENTS = 100  # a transaction; every server takes as many (RFC 5321 §4.5.3.1.8)
SWEEP_S = 1.0
OPENING_S = 300.0  # for a connection; when all took as long, no other address is tried
_STATUS = {
    PeerStep.CONNECT: "4.4.1",
    PeerStep.TLS: "4.7.5",
    PeerStep.GREETING: "4.3.2",
    PeerStep.HELLO: "4.3.2",
    PeerStep.AUTH: "4.7.8",
}


class Protection(Protocol):
    """What is known of a domain's TLS (`tls_policy.TlsPolicies`)."""

    async def for_domain(self, domain: str, *, is_mx_secure: bool = False) -> DomainTls:
        """What is known of a domain."""

    async def learned(self, domain: DomainTls, facts: TlsFacts) -> None:
        """A connection of this kind is about to be used."""

    def report(
        self,
        domain: DomainTls,
        host: str,
        address: str,
        outcome: TlsFacts | PeerUnusable | HostRefused,
    ) -> None:
        """Count the outcome of a connection."""


class Opener(Protocol):
    """Opens connections (`peer.open_peer`, with what it needs at hand)."""

    async def __call__(self, destination: Destination, tls: HostTls, way: Way) -> PeerLink:
        """A link that is ready. Raises PeerUnusable, WayUnusable."""


class RemoteAgent:
    """Serves the routes of `KINDS`."""

    name = "remote"

    def __init__(
        self,
        *,
        ways: Ways,
        finder: Callable[[], Finder],
        hops: NextHops,
        open_peer: Opener,
        protection: Protection | None,
    ) -> None:
        self.ways = ways
        self.finder = finder
        self.hops = hops
        self.open_peer = open_peer
        self.protection = protection
        self.shared = SharedLinks()
        self._sweeper: asyncio.TimerHandle | None = None
        self._is_closed = False

    def pace(self, route: str) -> Pace:
        return self.hops.pace(route, asyncio.get_running_loop().time())

    async def attempt(self, attempt: Attempt) -> Sequence[Result]:
        unit, recipients = attempt.unit, attempt.recipients
        domain = recipients[0].target.rpartition("@")[2]
        try:
            way = self.ways.of_route(
                unit.route, domain, unit.envelope.reverse_path, is_bound=attempt.is_bound
            )
        except WayUnusable as error:
            return [temporary("4.3.5", str(error))] * len(recipients)
        now = asyncio.get_running_loop().time()
        hop = self.hops.get(way.name)
        if hop.is_resting(now):
            hop.deferred(now)
            text = f"{hop.trouble}; not tried again since"
            return [temporary("4.4.1", text)] * len(recipients)
        wait = hop.turn(now)
        if wait is None:
            return [temporary("4.7.0", "too many messages for this destination now")] * len(
                recipients
            )
        if wait:
            await asyncio.sleep(wait)
        results: dict[int, Result] = {}
        for reverse_path, indices in _transactions(unit, recipients):
            chunk = [recipients[index] for index in indices]
            sent = _Delivery(self, way, hop, unit, reverse_path, chunk)
            results.update(zip(indices, await sent.run(), strict=True))
        self._sweep_later()
        return [results[index] for index in range(len(recipients))]

    def close(self) -> None:
        """Close the connections that are not in use; those that are, after their transaction."""
        self._is_closed = True
        self.hops.close()
        if self._sweeper is not None:
            self._sweeper.cancel()

    def keep(self, hop: NextHop, way: Way, link: PeerLink, host: str, shown: str) -> None:
        """A link is free."""
        if self._is_closed:
            link.close()
        else:
            hop.keep(link, host, shown, way.kind_of_link, asyncio.get_running_loop().time())
            if link.share_key is not None and link.is_usable:
                self.shared.offer(link.share_key, hop)

    def _sweep_later(self) -> None:
        if self._sweeper is None and not self._is_closed:
            loop = asyncio.get_running_loop()
            self._sweeper = loop.call_later(SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        self._sweeper = None
        if self.hops.sweep(asyncio.get_running_loop().time()):
            self._sweep_later()


class _Delivery:
    """The recipients of a transaction on their way through the hosts of a next hop."""

    def __init__(
        self,
        agent: RemoteAgent,
        way: Way,
        hop: NextHop,
        unit: Unit,
        reverse_path: str,
        recipients: Sequence[QueuedRecipient],
    ) -> None:
        self._agent = agent
        self._way = way
        self._hop = hop
        self._unit = unit
        self._reverse_path = reverse_path
        self._recipients = recipients
        self._results: list[Result | None] = [None] * len(recipients)
        self._left = list(range(len(recipients)))  # for whom another host may be tried
        self._trouble = temporary("4.4.1", f"no server of {way} can be used")
        self._opens_until = 0.0
        self._lacks_tls = False  # as it is demanded, a host did
        self._is_relaxed = False  # what is opened now serves this message only

    async def run(self) -> list[Result]:
        """One result a recipient."""
        is_settled, tried = await self._over_kept_links()
        if not is_settled:
            await self._over_hosts(tried)
        return [self._trouble if result is None else result for result in self._results]

    async def _over_kept_links(self) -> tuple[bool, str]:
        """Use a connection that is open; whether that was all, and the host that was asked."""
        if self._unit.envelope.requires_tls:
            return False, ""  # what a kept one has may have sufficed for others
        loop = asyncio.get_running_loop()
        while (kept := self._hop.take_idle(loop.time(), self._way.kind_of_link)) is not None:
            if not await self._transact(kept.link, kept.host, kept.shown):
                return not self._left, kept.host
            self._hop.close_idle()  # the server went away: the others are as dead
        return False, ""

    async def _over_hosts(self, tried: str) -> None:
        now = asyncio.get_running_loop().time
        try:
            hosts, protection = await self._hosts()
        except NoHost as error:
            make = permanent if error.is_permanent else temporary
            self._trouble = make(error.status, str(error))
            if not error.is_permanent:
                self._hop.failed(now(), str(error))
            return
        is_any_used = bool(tried)
        self._opens_until = now() + OPENING_S
        is_any_used = await self._try_each(hosts, protection, tried) or is_any_used
        may_relax = not is_any_used and self._lacks_tls and protection is not None
        if may_relax and await renounces_tls(self._unit):
            self._is_relaxed = True
            relaxed = DomainTls(self._way.policy_domain, is_relaxed=True)
            is_any_used = await self._try_each(hosts, relaxed, "")
        if not is_any_used:
            self._hop.failed(now(), self._trouble.detail)

    async def _try_each(self, hosts: MailHosts, protection: DomainTls | None, tried: str) -> bool:
        """Send to those that are left over one host after the other; was one usable?"""
        is_any_used = False
        for host in hosts.hosts:
            if not self._left:
                break
            if host.name == tried:
                continue
            link, shown = await self._open(host, protection)
            while link is not None:
                is_any_used = True
                if not await self._transact(link, host.name, shown):
                    break
                link, shown = await self._open(host, protection)  # another's, and dead
        return is_any_used

    async def _hosts(self) -> tuple[MailHosts, DomainTls | None]:
        """The hosts, and what their domain demands of TLS. Raises NoHost."""
        way, agent = self._way, self._agent
        finder = agent.finder()
        if way.servers:
            hosts = await finder.of_servers(way.servers)
        else:
            hosts = await finder.of_domain(way.domain)
        domain = way.policy_domain
        if agent.protection is None or not domain or domain.startswith("["):
            return hosts, None
        try:
            name = domain_to_ascii(domain)
        except InvalidAddress as error:
            raise NoHost("5.1.2", f"{domain} has no form in DNS") from error
        is_secure = hosts.is_secure and not way.servers
        return hosts, await agent.protection.for_domain(name, is_mx_secure=is_secure)

    async def _open(
        self, host: MailHost, protection: DomainTls | None
    ) -> tuple[PeerLink | None, str]:
        """A link to one of the host's addresses; None: it cannot be used, `_trouble` says why."""
        tls = self._way.tls
        if protection is not None:
            demanded = await protection.for_host(
                host.name,
                port=host.port,
                is_address_secure=host.is_secure,
                alias_of=host.alias_of,
                requires_tls=self._unit.envelope.requires_tls,
            )
            if isinstance(demanded, HostRefused):
                self._trouble = temporary("4.7.5", f"{host.name}: {demanded.why}")
                self._lacks_tls = True
                self._report(protection, host, "", demanded)
                return None, ""
            tls = demanded
        elif self._unit.envelope.requires_tls and tls.need < Need.VERIFIED:
            tls = HostTls(
                Need.VERIFIED, "the message demands REQUIRETLS", is_implicit=tls.is_implicit
            )
        now = asyncio.get_running_loop().time
        key = self._share_key(host, tls, protection)
        if key is not None:
            kept = self._agent.shared.take(key, set(map(str, host.addresses)), now())
            if kept is not None:
                await self._learn_tls(protection, host, kept.link)
                return kept.link, kept.shown
        for address in host.addresses:
            if now() >= self._opens_until:
                break
            link, shown = await self._open_address(host, address, tls, protection)
            if link is not None:
                link.share_key, link.peer_address = key, str(address)
                return link, shown
        return None, ""

    def _share_key(self, host: MailHost, tls: HostTls, protection: DomainTls | None) -> Hashable:
        """Under which a connection may be another's; None: under none."""
        if protection is None or self._is_relaxed or self._unit.envelope.requires_tls:
            return None
        return share_key(host, self._way, tls)

    async def _open_address(
        self, host: MailHost, address: IpAddress, tls: HostTls, protection: DomainTls | None
    ) -> tuple[PeerLink | None, str]:
        way, agent = self._way, self._agent
        source = way.source_for(address.version)
        destination = Destination(host.name, str(address), host.port, source)
        shown = str(destination)
        try:
            async with asyncio.timeout(OPENING_S):
                link = await agent.open_peer(destination, tls, way)
        except TimeoutError:
            self._trouble = temporary("4.4.1", f"{shown}: not ready in {OPENING_S:g} s")
            return None, shown
        except PeerUnusable as error:
            status = _STATUS[error.step]
            self._trouble = temporary(status, f"{error} ({shown})")
            self._lacks_tls = self._lacks_tls or error.step is PeerStep.TLS
            if error.code == 421:
                self._hop.was_slowed()
            self._report(protection, host, str(address), error)
            return None, shown
        except WayUnusable as error:
            self._trouble = temporary("4.3.5", str(error))
            return None, shown
        await self._learn_tls(protection, host, link, str(address))
        return link, shown

    async def _learn_tls(
        self, protection: DomainTls | None, host: MailHost, link: PeerLink, address: str = ""
    ) -> None:
        """A connection is about to be used for this domain."""
        self._report(protection, host, address or link.peer_address, link.tls)
        if protection is not None and self._agent.protection is not None:
            await self._agent.protection.learned(protection, link.tls)

    def _report(
        self,
        protection: DomainTls | None,
        host: MailHost,
        address: str,
        outcome: TlsFacts | PeerUnusable | HostRefused,
    ) -> None:
        if protection is not None and self._agent.protection is not None:
            self._agent.protection.report(protection, host.name, address, outcome)

    async def _transact(self, link: PeerLink, host: str, shown: str) -> bool:
        """Send to all that are left; True: a kept connection was dead, nothing happened."""
        was_used = link.transactions > 0
        recipients = [self._recipients[index] for index in self._left]
        done: Transacted | None = None
        try:
            letter = await prepare(self._unit, recipients, link.extensions, self._reverse_path)
            if letter.outgoing is not None:
                done = await link.transact(letter.outgoing)
        except BareLineEnd:
            text = f"the message is binary, and {shown} takes text only"
            letter = Letter(None, [permanent("5.6.1", text)] * len(recipients))
        finally:
            if self._is_relaxed:
                link.close()
            else:
                self._agent.keep(self._hop, self._way, link, host, shown)
        if done is None:
            self._settle(letter.results(()), [False] * len(recipients), shown, link)
            return False
        if was_used and done.is_unheard:
            return True
        results = letter.results(judge(done, shown))
        self._settle(results, _may_go_on(letter, done), shown, link)
        self._learn(done)
        return False

    def _settle(
        self, results: Sequence[Result], may_go_on: Sequence[bool], shown: str, link: PeerLink
    ) -> None:
        facts, tells = link.tls, "DSN" in link.extensions
        hears = is_relay_told(self._unit, keeps_time="DELIVERBY" in link.extensions)
        tls = ""
        if facts is not PLAIN:
            tls = " ".join(filter(None, (facts.version, facts.cipher, facts.how)))
        left: list[int] = []
        for index, result, goes_on in zip(self._left, results, may_go_on, strict=True):
            self._results[index] = Result(
                result.outcome, result.status, result.detail, shown, tls, tells, hears
            )
            if goes_on:
                left.append(index)
        self._left = left

    def _learn(self, done: Transacted) -> None:
        """Faster, slower, or not at all."""
        if done.failure and done.is_unheard:
            self._hop.failed(asyncio.get_running_loop().time(), done.failure)
            return
        if done.failure or any(map(_wants_less, done.results)):
            self._hop.was_slowed()
        else:
            self._hop.succeeded()


def _transactions(
    unit: Unit, recipients: Sequence[QueuedRecipient]
) -> list[tuple[str, Sequence[int]]]:
    """Which recipients share a transaction: a reverse-path, and their indices."""
    if len(recipients) == 1:
        return [(recipients[0].reverse_path or unit.envelope.reverse_path, (0,))]
    by_path: dict[str, list[int]] = {}
    for index, recipient in enumerate(recipients):
        path = recipient.reverse_path or unit.envelope.reverse_path
        by_path.setdefault(path, []).append(index)
    return [
        (path, indices[start : start + MAX_RECIPIENTS])
        for path, indices in by_path.items()
        for start in range(0, len(indices), MAX_RECIPIENTS)
    ]


def _wants_less(result: RecipientResult | None) -> bool:
    """Does the server say that it is too much at once?"""
    if result is None or result.reply.code < 400:
        return False
    is_policy = result.reply.enhanced.startswith("4.7.") and result.step is not Step.RCPT
    return result.reply.code == 421 or is_policy


def _may_go_on(letter: Letter, done: Transacted) -> list[bool]:
    """For each recipient: did the server say "later", so that the next host may be asked?"""
    decided = iter(done.results)
    return [
        refused is None and (result := next(decided)) is not None and result.reply.is_temporary
        for refused in letter.refused
    ]
