"""Units on their way to other servers, which are scripts here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from typing import Any, TypeVar, cast

import pytest

from relevo.config import Config
from relevo.config.outbound_model import DeclaredRoute, Outbound
from relevo.delivery.attempt import Result
from relevo.delivery.link_values import PLAIN, TlsFacts, Transacted
from relevo.delivery.peer_link import PeerLink
from relevo.dns import MailExchange
from relevo.journal import Outcome
from relevo.outbound.agent import MAX_RECIPIENTS, Protection, RemoteAgent
from relevo.outbound.destinations import FAILURES_TO_REST, HopLimits, NextHops
from relevo.outbound.host_tls import HostTls, Need
from relevo.outbound.hosts import Finder, Own
from relevo.outbound.peer import Destination, PeerStep, PeerUnusable
from relevo.outbound.tls_policy import DomainTls
from relevo.outbound.ways import Way, Ways
from relevo.queue import SecurityLevel
from relevo.queue.store import MemoryContent
from relevo.smtp import Outgoing
from relevo.smtp.client_events import RecipientResult, ServerReply, Step
from unit.delivery.samples import attempt_of, mail, make_unit
from unit.outbound.fake_dns import FakeDns

T = TypeVar("T")
ADDRESS = IPv4Address("8.8.8.8")


def said(code: int, enhanced: str = "", step: Step = Step.END) -> RecipientResult:
    return RecipientResult(step, ServerReply(code, enhanced, ("text",)))


TAKEN = said(250, "2.0.0")
LATER = said(450, "4.2.0", Step.RCPT)
NEVER = said(550, "5.1.1", Step.RCPT)

Script = Callable[[Outgoing], Transacted]


def answer(*results: RecipientResult | None, failure: str = "", unheard: bool = False) -> Script:
    """These results, the last one for all that follow."""

    def script(outgoing: Outgoing) -> Transacted:
        count = len(outgoing.recipients)
        filled = (*results, *(results[-1],) * count)[:count]
        return Transacted(filled, failure, is_unheard=unheard)

    return script


@dataclass
class Link:
    """A connection to a scripted host."""

    scripts: list[Script]
    sent: list[Outgoing]
    extensions: dict[str, str] = field(default_factory=lambda: {"8BITMIME": ""})
    tls: TlsFacts = PLAIN
    transactions: int = 0
    age_s: float = 0.0
    is_usable: bool = True
    share_key: Hashable = None
    peer_address: str = ""

    async def transact(self, outgoing: Outgoing) -> Transacted:
        self.transactions += 1
        self.sent.append(outgoing)
        done = (self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0])(outgoing)
        self.is_usable = not done.failure
        return done

    def close(self) -> None:
        self.is_usable = False


@dataclass
class World:
    """Hosts by name: what each answers in turn, or the error of a connection to it."""

    hosts: dict[str, list[Script] | PeerUnusable]
    config: Config = field(default_factory=lambda: Config(hostname="mx.ours.test"))
    limits: HopLimits = field(default_factory=HopLimits)
    opened: list[str] = field(default_factory=list)
    sent: dict[str, list[Outgoing]] = field(default_factory=dict)
    destinations: list[Destination] = field(default_factory=list)
    dns: FakeDns = field(default_factory=FakeDns)
    protection: Protection | None = None
    needs: list[Need] = field(default_factory=list)  # of TLS, of what was opened

    def __post_init__(self) -> None:
        self.dns.records["mx", "r.test"] = tuple(
            MailExchange(number, host) for number, host in enumerate(self.hosts)
        )
        for host in self.hosts:
            self.dns.records["a", host] = (ADDRESS,)
        self.agent = RemoteAgent(
            ways=Ways(self.config),
            finder=lambda: Finder(self.dns, Own(frozenset(), frozenset()), 25),
            hops=NextHops(self.limits),
            open_peer=self.open,
            protection=self.protection,
        )

    async def open(self, destination: Destination, tls: HostTls, way: Way) -> PeerLink:
        del way
        self.opened.append(destination.name)
        self.needs.append(tls.need)
        if self.protection is not None and tls.need > Need.NONE:
            raise PeerUnusable(PeerStep.TLS, f"{destination.name}: no TLS")
        self.destinations.append(destination)
        host = self.hosts[destination.name]
        if isinstance(host, PeerUnusable):
            raise host
        if not host:
            await asyncio.Event().wait()  # it hangs
        return cast("PeerLink", Link(host, self.sent.setdefault(destination.name, [])))

    async def deliver(
        self, *targets: str, route: str = "mx:r.test", sender: str = "a@b.test", head: bytes = b""
    ) -> Sequence[Result]:
        recipients = [mail(target) for target in targets or ("x@r.test",)]
        unit = make_unit(*recipients, route=route, reverse_path=sender)
        if head:
            unit = replace(unit, content=MemoryContent(head + b"\r\nx\r\n"))
        return await self.agent.attempt(attempt_of(unit))


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


def codes(results: Sequence[Result]) -> list[str]:
    return [result.status for result in results]


REFUSED = PeerUnusable(PeerStep.CONNECT, "one: no connection: refused")


def test_the_result_tells_what_the_server_said_and_which_one() -> None:
    (result,) = run(World({"one": [answer(TAKEN)]}).deliver())
    assert result.outcome is Outcome.DELIVERED
    assert "250 2.0.0 text" in result.detail
    assert result.peer == "one (8.8.8.8:25)"


def test_a_host_that_cannot_be_used_is_passed_by() -> None:
    world = World({"one": REFUSED, "two": [answer(TAKEN)]})
    (result,) = run(world.deliver())
    assert result.outcome is Outcome.DELIVERED
    assert world.opened == ["one", "two"]


def test_recipients_that_a_host_defers_go_on_to_the_next_one() -> None:
    world = World({"one": [answer(TAKEN, LATER, NEVER)], "two": [answer(TAKEN)]})
    results = run(world.deliver("a@r.test", "b@r.test", "c@r.test"))
    assert [result.outcome for result in results] == [
        Outcome.DELIVERED,
        Outcome.DELIVERED,
        Outcome.PERMANENT,
    ]
    assert [each.path.local for each in world.sent["two"][0].recipients] == ["b"]


def test_a_permanent_answer_stands() -> None:
    world = World({"one": [answer(NEVER)], "two": [answer(TAKEN)]})
    assert codes(run(world.deliver())) == ["5.1.1"]
    assert world.opened == ["one"]


def test_after_a_broken_transaction_no_other_host_is_asked() -> None:
    world = World({"one": [answer(None, failure="closed")], "two": [answer(TAKEN)]})
    assert codes(run(world.deliver())) == ["4.4.2"]
    assert world.opened == ["one"]


def test_all_hosts_unusable_is_temporary_with_the_last_reason() -> None:
    greeting = PeerUnusable(PeerStep.GREETING, "two: greeting refused: 554 go", code=554)
    (result,) = run(World({"one": REFUSED, "two": greeting}).deliver())
    assert (result.outcome, result.status) == (Outcome.TEMPORARY, "4.3.2")
    assert "554 go" in result.detail


def test_servers_that_only_hang_hold_an_attempt_for_a_bounded_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("relevo.outbound.agent.OPENING_S", 0.05)
    world = World({"one": [], "two": [], "three": []})
    (result,) = run(world.deliver())
    assert (result.outcome, result.status) == (Outcome.TEMPORARY, "4.4.1")
    assert "not ready in" in result.detail
    assert world.opened == ["one"], "the time is over"


class Demanding:
    """Former connections had TLS, whatever the domain."""

    async def for_domain(self, domain: str, *, is_mx_secure: bool = False) -> DomainTls:
        return DomainTls(domain, SecurityLevel.TLS_SECURE, is_mx_secure=is_mx_secure)

    async def learned(self, domain: DomainTls, facts: TlsFacts) -> None:
        pass

    def report(self, domain: DomainTls, host: str, address: str, outcome: object) -> None:
        pass


@pytest.mark.parametrize(
    ("head", "is_sent"),
    [
        (b"TLS-Required: No\r\n", True),
        (b"tls-required:\r\n nO\r\n", True),
        (b"TLS-Required: Yes\r\n", False),
        (b"TLS-Required: No\r\nTLS-Required: Yes\r\n", False),
        (b"Subject: TLS-Required: No\r\n", False),
        (b"Subject: x\r\n\r\nTLS-Required: No\r\n", False),
    ],
)
def test_a_sender_may_renounce_tls_that_cannot_be_had(head: bytes, is_sent: bool) -> None:
    """RFC 8689 §3. First it is tried as demanded; the connection serves nobody else."""

    async def scenario() -> None:
        world = World({"one": [answer(TAKEN)]}, protection=Demanding())
        (result,) = await world.deliver(head=head)
        assert (result.outcome is Outcome.DELIVERED) is is_sent
        assert world.needs == [Need.VERIFIED, *([Need.NONE] if is_sent else [])]
        (result,) = await world.deliver()
        assert result.status == "4.7.5"
        world.agent.close()

    asyncio.run(scenario())


def test_no_such_domain_is_permanent() -> None:
    world = World({})
    world.dns.missing.add("r.test")
    assert codes(run(world.deliver())) == ["5.1.2"]


def test_many_recipients_make_several_transactions_over_one_connection() -> None:
    world = World({"one": [answer(TAKEN)]})
    results = run(world.deliver(*(f"u{number}@r.test" for number in range(250))))
    assert len(results) == 250
    counts = [len(outgoing.recipients) for outgoing in world.sent["one"]]
    assert counts == [MAX_RECIPIENTS, MAX_RECIPIENTS, 50]
    assert world.opened == ["one"]


def test_recipients_of_forwarded_mail_have_a_transaction_for_each_reverse_path() -> None:
    async def check() -> None:
        world = World({"mx1.r.test": [answer(TAKEN)]})
        recipients = [
            mail("x@r.test"),
            replace(mail("y@r.test"), reverse_path="SRS0=1@d1.test"),
            mail("z@r.test"),
        ]
        results = await world.agent.attempt(attempt_of(make_unit(*recipients, route="mx:r.test")))
        assert codes(results) == ["2.0.0"] * 3
        sent = [
            (one.reverse_path.local, [recipient.path.local for recipient in one.recipients])
            for one in world.sent["mx1.r.test"]
        ]
        assert sent == [("a", ["x", "z"]), ("SRS0=1", ["y"])]

    run(check())


def test_connections_are_used_again_for_the_next_unit() -> None:
    async def scenario() -> None:
        world = World({"one": [answer(TAKEN)]})
        for _ in range(3):
            await world.deliver()
        assert world.opened == ["one"]
        world.agent.close()

    run(scenario())


def test_a_kept_connection_that_died_is_replaced_at_once() -> None:
    async def scenario() -> None:
        dead = answer(None, failure="closed", unheard=True)
        world = World({"one": [answer(TAKEN), dead, answer(TAKEN)]})
        await world.deliver()
        (result,) = await world.deliver()
        assert result.outcome is Outcome.DELIVERED
        assert world.opened == ["one", "one"]

    run(scenario())


def test_a_kept_connection_whose_host_defers_leads_to_the_other_hosts() -> None:
    async def scenario() -> None:
        world = World({"one": [answer(TAKEN), answer(LATER)], "two": [answer(TAKEN)]})
        await world.deliver()
        (result,) = await world.deliver()
        assert result.outcome is Outcome.DELIVERED
        assert world.opened == ["one", "two"]

    run(scenario())


def test_a_next_hop_that_rests_is_left_alone() -> None:
    async def scenario() -> None:
        world = World({"one": REFUSED})
        for _ in range(FAILURES_TO_REST + 5):
            (result,) = await world.deliver()
            assert result.outcome is Outcome.TEMPORARY
        assert len(world.opened) == FAILURES_TO_REST
        assert "no connection: refused" in result.detail

    run(scenario())


@pytest.mark.parametrize(
    "slow", [said(421, "4.3.2"), said(450, "4.7.1", Step.MAIL), said(451, "4.7.0")]
)
def test_what_asks_for_less_halves_the_width(slow: RecipientResult) -> None:
    async def scenario() -> None:
        world = World({"one": [answer(TAKEN)] * 20 + [answer(slow)]})
        for _ in range(20):
            await world.deliver()
        before = world.agent.pace("mx:r.test").width
        await world.deliver()
        assert world.agent.pace("mx:r.test").width <= before // 2 + 1

    run(scenario())


def test_greylisting_does_not_slow_down() -> None:
    async def scenario() -> None:
        world = World({"one": [answer(said(450, "4.7.1", Step.RCPT))]})
        before = world.agent.pace("mx:r.test").width
        await world.deliver()
        assert world.agent.pace("mx:r.test").width >= before

    run(scenario())


SMARTHOST = Config(
    hostname="mx.ours.test",
    outbound=Outbound(smarthost=("relay.test:587",), source_addresses=("192.0.2.1",)),
    route=(
        DeclaredRoute(senders=("vip.test",), source_address="192.0.2.9"),
        DeclaredRoute(name="boxes", recipients=("boxes.test",), servers=("lm.test:24",)),
    ),
)


def test_ways_of_the_configuration() -> None:
    world = World({"one": [answer(TAKEN)]}, SMARTHOST, HopLimits(idle_s=0))
    for host in ("relay.test", "lm.test"):
        world.dns.records["a", host] = (ADDRESS,)
        world.hosts[host] = [answer(TAKEN)]
    for route, sender in (
        ("smarthost:relay.test:587", "a@b.test"),
        ("smarthost:boxes", "a@b.test"),
        ("mx:r.test", "a@vip.test"),
        ("smarthost:gone", "a@b.test"),
    ):
        run(world.deliver(route=route, sender=sender))
    assert [(each.name, each.port, each.source) for each in world.destinations] == [
        ("relay.test", 587, "192.0.2.1"),
        ("lm.test", 24, "192.0.2.1"),
        ("one", 25, "192.0.2.9"),
        ("relay.test", 587, "192.0.2.1"),
    ]


def test_mail_that_waited_for_the_exchangers_takes_the_smarthost_but_not_where_a_hook_says_so() -> (
    None
):
    world = World({"one": [answer(TAKEN)]}, SMARTHOST, HopLimits(idle_s=0))
    world.dns.records["a", "relay.test"] = (ADDRESS,)
    world.hosts["relay.test"] = [answer(TAKEN)]
    attempt = attempt_of(make_unit(mail("x@r.test"), route="mx:r.test"))
    for is_bound in (False, True):
        run(world.agent.attempt(replace(attempt, is_bound=is_bound)))
    assert world.opened == ["relay.test", "one"]
