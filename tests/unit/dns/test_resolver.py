"""Look-ups against a name server that answers well, badly, late or not at all."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Coroutine
from ipaddress import IPv4Address
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import pytest

from relevo.dns import Answer, DnsFailed, NameServer, Outcome, Resolver
from relevo.dns.resolver import FAILED_TTL_S, MAX_ABSENT_TTL_S
from unit.dns.stub_server import Reply, Stub, replies, reply_to, stub_server

HOST = "host.test. 300 IN A 192.0.2.1"
SOA = "test. 900 IN SOA ns.test. admin.test. 1 2 3 4 60"
FOUND = (IPv4Address("192.0.2.1"),)
TC = dns.flags.TC
AD = dns.flags.AD
SERVFAIL = dns.rcode.SERVFAIL
NXDOMAIN = dns.rcode.NXDOMAIN


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def silent(_query: dns.message.Message) -> list[bytes]:
    return []


def in_turn(*each: Reply) -> Reply:
    """Another reply each time; the last one from then on."""
    left = list(each)

    def reply(query: dns.message.Message) -> list[bytes]:
        this = left.pop(0) if len(left) > 1 else left[0]
        return this(query)

    return reply


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(coroutine)


def ask_once(
    over_udp: Reply, over_tcp: Reply | None = None, *, is_trusted: bool = False
) -> tuple[Answer[IPv4Address], Stub]:
    async def ask() -> tuple[Answer[IPv4Address], Stub]:
        async with stub_server(over_udp, over_tcp, is_trusted=is_trusted) as stub:
            return await Resolver([stub.server], timeout_s=2).a("host.test"), stub

    return asyncio.run(ask())


def test_what_is_found_is_given_with_its_lifetime() -> None:
    answer, _ = ask_once(replies(HOST))
    assert answer == Answer(Outcome.FOUND, FOUND, 300, is_authenticated=False)


def test_aliases_are_followed_and_shorten_the_lifetime() -> None:
    alias = "host.test. 20 IN CNAME other.test."
    answer, _ = ask_once(replies("other.test. 300 IN A 192.0.2.1", alias))
    assert (answer.records, answer.ttl_s) == (FOUND, 20)


def test_records_of_other_names_count_for_nothing() -> None:
    answer, _ = ask_once(replies("evil.test. 300 IN A 192.0.2.66", authority=(SOA,)))
    assert (answer.outcome, answer.records) == (Outcome.NO_RECORDS, ())


@pytest.mark.parametrize(
    ("rcode", "outcome"), [(0, Outcome.NO_RECORDS), (NXDOMAIN, Outcome.NO_SUCH_NAME)]
)
def test_an_absence_lives_as_long_as_its_zone_says(rcode: int, outcome: Outcome) -> None:
    answer, _ = ask_once(replies(authority=(SOA,), rcode=rcode))
    assert (answer.outcome, answer.ttl_s) == (outcome, 60)


def test_an_absence_without_its_zone_is_not_for_keeping() -> None:
    answer, _ = ask_once(replies(rcode=NXDOMAIN))
    assert answer.ttl_s == 0


@pytest.mark.parametrize("is_trusted", [True, False])
def test_only_a_trusted_server_vouches_for_dnssec(is_trusted: bool) -> None:
    answer, _ = ask_once(replies(HOST, flags=AD), is_trusted=is_trusted)
    assert answer.is_authenticated is is_trusted


def test_a_truncated_answer_is_asked_for_again_over_tcp() -> None:
    answer, stub = ask_once(replies(flags=TC), replies(HOST))
    assert answer.records == FOUND
    assert [transport for transport, _ in stub.asked] == ["udp", "tcp"]


def test_a_server_that_knows_no_edns_is_asked_without() -> None:
    def reply(query: dns.message.Message) -> list[bytes]:
        if query.edns < 0:
            return replies(HOST)(query)
        header = struct.pack("!HHHHHH", query.id, 0x8000 | dns.rcode.FORMERR, 0, 0, 0, 0)
        return [header]

    answer, stub = ask_once(reply)
    assert answer.records == FOUND
    assert len(stub.asked) == 2


def test_answers_to_other_questions_are_passed_over() -> None:
    def reply(query: dns.message.Message) -> list[bytes]:
        forged = reply_to(query, "host.test. 300 IN A 192.0.2.66")
        other_id = dns.message.from_wire(forged.to_wire())
        other_id.id ^= 1
        asked_elsewhere = dns.message.make_response(dns.message.make_query("evil.test.", "A"))
        asked_elsewhere.id = query.id
        echo = query.to_wire()
        good = replies(HOST)(query)
        return [other_id.to_wire(), asked_elsewhere.to_wire(), echo, b"", b"junk", *good]

    answer, _ = ask_once(reply)
    assert answer.records == FOUND


def failure(over_udp: Reply, over_tcp: Reply | None = None, *, timeout_s: float = 2) -> DnsFailed:
    async def ask() -> DnsFailed:
        async with stub_server(over_udp, over_tcp) as stub:
            with pytest.raises(DnsFailed) as raised:
                await Resolver([stub.server], timeout_s=timeout_s).a("host.test")
            return raised.value

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("over_udp", "over_tcp", "expected"),
    [
        pytest.param(replies(rcode=SERVFAIL), None, "SERVFAIL", id="server failure"),
        pytest.param(replies(HOST, rcode=NXDOMAIN), None, "confused", id="contradiction"),
        pytest.param(lambda _: [b"junk"] * 40, None, "other questions", id="junk"),
        pytest.param(replies(flags=TC), replies(flags=TC), "truncated over TCP", id="truncated"),
        pytest.param(replies(flags=TC), lambda _: [], "connection ended", id="cut short"),
        pytest.param(
            replies(flags=TC), lambda _: [b"junk"], "another question", id="junk over TCP"
        ),
        pytest.param(
            lambda query: [replies(HOST)(query)[0][:-3]], None, "unreadable", id="octets missing"
        ),
    ],
)
def test_no_usable_answer_is_a_failure(
    over_udp: Reply, over_tcp: Reply | None, expected: str
) -> None:
    error = failure(over_udp, over_tcp)
    assert expected in error.detail
    assert error.question == "A of host.test"


def test_silence_is_a_failure_when_the_time_is_over() -> None:
    assert "no answer" in failure(silent, timeout_s=0.1).detail


def test_a_port_where_nobody_listens_is_a_failure_at_once() -> None:
    async def ask() -> None:
        async with stub_server(silent) as stub:
            pass
        with pytest.raises(DnsFailed, match="refused"):
            await Resolver([stub.server], timeout_s=60).a("host.test")

    run(ask())


def test_a_lost_question_is_asked_again() -> None:
    answer, stub = ask_once(in_turn(silent, replies(HOST)))
    assert answer.records == FOUND
    assert len(stub.asked) == 2


def test_the_next_server_is_asked_when_one_fails() -> None:
    async def ask() -> None:
        async with stub_server(replies(rcode=SERVFAIL)) as bad, stub_server(replies(HOST)) as good:
            resolver = Resolver([bad.server, good.server])
            assert (await resolver.a("host.test")).records == FOUND
            assert (await resolver.a("other.test")).records == ()
            assert len(bad.asked) == 1  # the one that answered is asked first

    run(ask())


def test_answers_are_kept_as_long_as_they_live() -> None:
    async def ask() -> None:
        clock = Clock()
        async with stub_server(replies(HOST)) as stub:
            resolver = Resolver([stub.server], clock=clock)
            for name in ("host.test", "HOST.test", "host.test."):
                await resolver.a(name)
            assert len(stub.asked) == 1
            clock.now += 299.9
            await resolver.a("host.test")
            assert len(stub.asked) == 1
            clock.now += 0.2
            await resolver.a("host.test")
            assert len(stub.asked) == 2

    run(ask())


def test_absences_are_kept_for_an_hour_at_most() -> None:
    async def ask() -> None:
        clock = Clock()
        long = SOA.replace(" 60", " 86400").replace("900", "86400")
        async with stub_server(replies(authority=(long,), rcode=NXDOMAIN)) as stub:
            resolver = Resolver([stub.server], clock=clock)
            for wait in (0.0, MAX_ABSENT_TTL_S - 1.0, 2.0):
                clock.now += wait
                assert (await resolver.a("host.test")).outcome is Outcome.NO_SUCH_NAME
            assert len(stub.asked) == 2

    run(ask())


def test_failures_are_kept_for_a_moment() -> None:
    async def ask() -> None:
        clock = Clock()
        async with stub_server(in_turn(replies(rcode=SERVFAIL), replies(HOST))) as stub:
            resolver = Resolver([stub.server], clock=clock)
            for _ in range(3):
                with pytest.raises(DnsFailed, match="SERVFAIL"):
                    await resolver.a("host.test")
            clock.now += FAILED_TTL_S + 1
            assert (await resolver.a("host.test")).records == FOUND

    run(ask())


def test_many_who_ask_the_same_cost_one_question() -> None:
    async def ask() -> None:
        async with stub_server(replies(HOST)) as stub:
            resolver = Resolver([stub.server])
            answers = await asyncio.gather(*(resolver.a("host.test") for _ in range(50)))
            assert {answer.records for answer in answers} == {FOUND}
            assert len(stub.asked) == 1

    run(ask())


def test_who_gives_up_takes_nothing_from_the_others() -> None:
    async def ask() -> None:
        async with stub_server(in_turn(silent, replies(HOST))) as stub:
            resolver = Resolver([stub.server], timeout_s=2)
            first = asyncio.create_task(resolver.a("host.test"))
            second = asyncio.create_task(resolver.a("host.test"))
            await stub.was_asked.wait()
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            assert (await second).records == FOUND

    run(ask())


def test_closing_ends_what_is_under_way() -> None:
    async def ask() -> None:
        async with stub_server(silent) as stub:
            resolver = Resolver([stub.server], timeout_s=60)
            waiting = asyncio.create_task(resolver.a("host.test"))
            await stub.was_asked.wait()
            await resolver.aclose()
            with pytest.raises(DnsFailed, match="closed"):
                await waiting

    run(ask())


@pytest.mark.parametrize("name", ["", ".", "a..b", "x" * 64 + ".test", "a\x00.test", "y" * 300])
def test_what_is_no_name_is_not_asked_for(name: str) -> None:
    async def ask() -> None:
        async with stub_server(replies(HOST)) as stub:
            answer = await Resolver([stub.server]).a(name)
            assert (answer.outcome, stub.asked) == (Outcome.NO_SUCH_NAME, [])

    run(ask())


def test_a_resolver_needs_a_server() -> None:
    with pytest.raises(ValueError, match="needs a name server"):
        Resolver([])


def test_a_server_that_cannot_be_reached_is_passed_over() -> None:
    async def ask() -> None:
        async with stub_server(replies(HOST)) as good:
            nowhere = NameServer("255.255.255.255", 53)  # no socket may send there
            resolver = Resolver([nowhere, good.server])
            assert (await resolver.a("host.test")).records == FOUND

    run(ask())


@pytest.mark.parametrize(
    ("flags", "is_trusted", "expected"), [(AD, True, True), (AD, False, False), (0, True, False)]
)
def test_dnssec_is_seen_when_a_trusted_server_vouches_for_the_root(
    flags: int, is_trusted: bool, expected: bool
) -> None:
    async def ask() -> None:
        root = ". 900 IN SOA a.root. admin.root. 1 2 3 4 60"
        async with stub_server(replies(root, flags=flags), is_trusted=is_trusted) as stub:
            resolver = Resolver([stub.server], timeout_s=2)
            assert await resolver.is_dnssec_seen() is expected
            assert stub.asked == [("udp", ".")]

    run(ask())


def test_dnssec_is_not_seen_where_the_signed_name_is_missing() -> None:
    async def ask() -> None:
        reply = replies(authority=(SOA,), rcode=NXDOMAIN, flags=AD)
        async with stub_server(reply, is_trusted=True) as stub:
            resolver = Resolver([stub.server], timeout_s=2, signed_name="test.")
            assert not await resolver.is_dnssec_seen()
            assert stub.asked == [("udp", "test.")]

    run(ask())
