"""Look-ups and SPF over a real name server: NSD, on loopback, over UDP and TCP."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvloop

from harness.dns_zones import SPF_RECORDS, DnsServer, start_dns
from harness.processes import Reaper, reaping
from relevo.dns import DnsFailed, MailExchange, NameServer, Outcome, Resolver, parse_server
from relevo.dns.transport import ask_over_udp
from relevo.mailauth import SpfOutcome, check_host

pytestmark = pytest.mark.needs_debian("nsd")

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]
LONG_TEXT = b"".join(b"%04d." % number for number in range(800))  # no datagram holds it
RECORDS = (
    *SPF_RECORDS,
    "long TXT " + " ".join(f'"{LONG_TEXT[at : at + 200].decode()}"' for at in range(0, 4000, 200)),
    'parts TXT "one " "two"',
    "host A 192.0.2.1",
    "host A 192.0.2.2",
    "host AAAA 2001:db8::1",
    "alias CNAME host",
    "mail MX 10 host",
    "mail MX 20 alias",
    "null MX 0 .",
    'deep._spf TXT "v=spf1 a:host.test mx:mail.test -all"',
    'includes TXT "v=spf1 include:deep._spf.test ?all"',
    'xn--bcher-kva TXT "v=spf1 ip4:127.0.0.1 -all"',
)
REVERSE = ("1.0.0 PTR host.test.",)


@pytest.fixture(scope="module")
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DnsServer]:
    with reaping(request) as reaper:
        zones = {"test.": RECORDS, "127.in-addr.arpa.": REVERSE}
        yield start_dns(reaper, tmp_path_factory.mktemp("dns"), zones)


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run[Any]:
    """Runs a coroutine on each of the two loops that relevo runs on."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def run(coroutine: Coroutine[Any, Any, T]) -> T:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(coroutine)

    return run


def ask(server: DnsServer, question: Callable[[Resolver], Awaitable[T]]) -> Coroutine[Any, Any, T]:
    """A look-up by a resolver of its own."""

    async def asked() -> T:
        return await question(Resolver([parse_server(str(server))]))

    return asked()


def test_strings_of_a_text_are_joined(server: DnsServer, run: Run[Any]) -> None:
    answer = run(ask(server, lambda resolver: resolver.txt("parts.test")))
    assert (answer.records, answer.ttl_s) == ((b"one two",), 300)


def test_addresses(server: DnsServer, run: Run[Any]) -> None:
    answer = run(ask(server, lambda resolver: resolver.a("HOST.test.")))
    assert set(answer.records) == {IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")}
    answer = run(ask(server, lambda resolver: resolver.aaaa("alias.test")))
    assert answer.records == (IPv6Address("2001:db8::1"),)


def test_mail_exchanges(server: DnsServer, run: Run[Any]) -> None:
    answer = run(ask(server, lambda resolver: resolver.mx("mail.test")))
    expected = {MailExchange(10, "host.test"), MailExchange(20, "alias.test")}
    assert set(answer.records) == expected
    answer = run(ask(server, lambda resolver: resolver.mx("null.test")))
    assert answer.records == (MailExchange(0, ""),)


def test_names_of_an_address(server: DnsServer, run: Run[Any]) -> None:
    answer = run(ask(server, lambda resolver: resolver.ptr(IPv4Address("127.0.0.1"))))
    assert answer.records == ("host.test",)


def test_an_answer_too_long_for_udp_comes_over_tcp(server: DnsServer, run: Run[Any]) -> None:
    answer = run(ask(server, lambda resolver: resolver.txt("long.test")))
    assert answer.records == (LONG_TEXT,)


def test_absences_are_told_apart(server: DnsServer, run: Run[Any]) -> None:
    answer = run(ask(server, lambda resolver: resolver.a("pass.test")))
    assert (answer.outcome, answer.ttl_s) == (Outcome.NO_RECORDS, 60)
    answer = run(ask(server, lambda resolver: resolver.a("nobody.test")))
    assert (answer.outcome, answer.ttl_s) == (Outcome.NO_SUCH_NAME, 60)


def test_a_refusal_is_no_absence(server: DnsServer, run: Run[Any]) -> None:
    with pytest.raises(DnsFailed, match="REFUSED"):
        run(ask(server, lambda resolver: resolver.a("example.org")))


@pytest.mark.parametrize(
    ("domain", "client_ip", "expected"),
    [
        ("pass.test", "127.0.0.1", "pass (matched ip)"),
        ("pass.test", "::1", "pass (matched ip)"),
        ("fail.test", "127.0.0.1", "fail (matched all)"),
        ("soft.test", "127.0.0.1", "softfail (matched all)"),
        ("none.test", "127.0.0.1", "none (no DNS record found)"),
        ("nobody.test", "127.0.0.1", "none (no DNS record found)"),
        ("includes.test", "192.0.2.2", "pass (matched a)"),
        ("includes.test", "192.0.2.3", "neutral (matched all)"),
        ("bücher.test", "127.0.0.1", "pass (matched ip)"),
        ("example.org", "127.0.0.1", "temperror (DNS could not tell: TXT of example.org)"),
    ],
)
def test_spf(server: DnsServer, run: Run[Any], domain: str, client_ip: str, expected: str) -> None:
    client = ip_address(client_ip)
    result = run(ask(server, lambda dns: check_host(client, f"a@{domain}", "cli", dns)))
    assert f"{result.outcome.value} ({result.reason})" == expected


def test_what_is_known_is_not_asked_again(reaper: Reaper, tmp_path: Path) -> None:
    server = start_dns(reaper, tmp_path)

    async def check() -> None:
        resolver = Resolver([parse_server(str(server))])
        assert (await resolver.txt("pass.test")).records
        assert (await resolver.a("nobody.test")).outcome is Outcome.NO_SUCH_NAME
        server.stop()
        assert (await resolver.txt("Pass.test")).records
        assert (await resolver.a("nobody.test")).outcome is Outcome.NO_SUCH_NAME
        with pytest.raises(DnsFailed):
            await resolver.a("other.test")

    asyncio.run(check())


def test_a_silent_server_costs_the_deadline_and_no_more(run: Run[Any]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))

        async def check() -> tuple[float, SpfOutcome]:
            resolver = Resolver([NameServer(*silent.getsockname())], timeout_s=0.3)
            began = time.monotonic()
            with pytest.raises(DnsFailed, match="no answer"):
                await resolver.txt("pass.test")
            took = time.monotonic() - began
            result = await check_host("127.0.0.1", "a@pass.test", "cli", resolver)
            return took, result.outcome

        took, outcome = run(check())
    assert 0.25 < took < 2
    assert outcome is SpfOutcome.TEMPERROR


def test_a_question_given_up_at_any_moment_leaves_no_socket(run: Run[Any]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))

        async def check() -> None:
            server = NameServer(*silent.getsockname())
            before = sockets()
            for steps in range(6):
                question = asyncio.create_task(ask_over_udp(server, b"x", bytes))
                for _ in range(steps):
                    await asyncio.sleep(0)
                question.cancel()
                await asyncio.wait([question])
                assert question.cancelled()
            await asyncio.sleep(0)
            assert sockets() == before

        run(check())


def sockets() -> int:
    """How many this process has."""
    count = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            count += str(descriptor.readlink()).startswith("socket:")
    return count


def test_the_next_server_answers_for_a_dead_one_and_is_then_asked_first(
    server: DnsServer, run: Run[Any]
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        silent.setblocking(False)
        servers = [NameServer(*silent.getsockname()), parse_server(str(server))]

        async def check() -> None:
            resolver = Resolver(servers, timeout_s=2)
            assert (await resolver.a("host.test")).records
            assert silent.recv(512)  # it was asked
            assert (await resolver.a("alias.test")).records
            with pytest.raises(BlockingIOError):
                silent.recv(512)

        run(check())
