"""Delivery over LMTP: what each recipient is told, and how connections are used."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from relevo.delivery import link_pool, peer_link
from relevo.delivery.attempt import Result
from relevo.delivery.link_values import Server
from relevo.delivery.lmtp import MAX_RECIPIENTS, LmtpAgent, parse_server
from relevo.journal import Outcome
from relevo.queue.content import ContentDamaged
from relevo.queue.store import Content, MemoryContent, QueuedRecipient
from unit.delivery.lmtp_server import LmtpServer, listening
from unit.delivery.loops import Runner
from unit.delivery.samples import MESSAGE, Pieces, attempt_of, mail, make_unit

Deliver = Callable[..., Awaitable[Sequence[Result]]]
UTF8 = (b"PIPELINING", b"8BITMIME", b"SMTPUTF8")


@dataclass
class Site:
    """A server and an agent that delivers to it."""

    run: Runner
    folder: Path
    connections: int = 10

    def __call__(
        self, server: LmtpServer, scenario: Callable[[LmtpAgent], Awaitable[None]]
    ) -> None:
        async def whole() -> None:
            async with listening(server, self.folder) as path:
                agent = LmtpAgent(Server(path=path), "mx.test", self.connections)
                try:
                    await scenario(agent)
                finally:
                    agent.close()
                    await asyncio.sleep(0)

        self.run(whole())

    def deliver(
        self,
        server: LmtpServer,
        *recipients: QueuedRecipient,
        content: Content | None = None,
        reverse_path: str = "a@b.test",
    ) -> Sequence[Result]:
        """The results of one attempt."""
        results: list[Result] = []

        async def scenario(agent: LmtpAgent) -> None:
            unit = make_unit(*recipients, content=content, reverse_path=reverse_path)
            results.extend(await agent.attempt(attempt_of(unit)))

        self(server, scenario)
        return results


@pytest.fixture
def site(run: Runner, tmp_path: Path) -> Site:
    return Site(run, tmp_path)


def shown(results: Sequence[Result]) -> list[tuple[str, str]]:
    return [(result.outcome.name, result.status) for result in results]


async def once(agent: LmtpAgent, *recipients: QueuedRecipient) -> Sequence[Result]:
    return await agent.attempt(attempt_of(make_unit(*recipients)))


DELIVERED = ("DELIVERED", "2.0.0")
TEMPORARY = Outcome.TEMPORARY


def test_a_unit_is_one_transaction(site: Site) -> None:
    server = LmtpServer()
    assert shown(site.deliver(server, mail("ann@d1.test"), mail("bob@d1.test"))) == [DELIVERED] * 2
    (taken,) = server.taken
    assert taken.recipients == [b"ann@d1.test", b"bob@d1.test"]
    assert taken.body == MESSAGE.replace(b"\r\n.dot", b"\r\n..dot")
    assert taken.mail == b"MAIL FROM:<a@b.test> SIZE=%d BODY=8BITMIME" % len(MESSAGE)
    assert server.commands[0] == b"LHLO mx.test"


def test_each_recipient_gets_its_own_answer(site: Site) -> None:
    server = LmtpServer(
        rcpt={
            b"gone@d1.test": b"550 5.1.1 no such user\r\n",
            b"busy@d1.test": b"450 4.2.0 locked\r\n",
        },
        end={b"full@d1.test": b"552 5.2.2 over quota\r\n", b"slow@d1.test": b"451 later\r\n"},
    )
    names = ("ann", "gone", "full", "busy", "slow", "bob")
    results = site.deliver(server, *(mail(f"{name}@d1.test") for name in names))
    assert shown(results) == [
        DELIVERED,
        ("PERMANENT", "5.1.1"),
        ("PERMANENT", "5.2.2"),
        ("TEMPORARY", "4.2.0"),
        ("TEMPORARY", "4.0.0"),
        DELIVERED,
    ]
    assert results[1].detail == "550 5.1.1 no such user"
    assert results[0].detail == "250 2.0.0 saved"


def test_nobody_accepted_sends_no_message(site: Site) -> None:
    server = LmtpServer(rcpt={b"ann@d1.test": b"550 5.1.1 no\r\n"})
    assert shown(site.deliver(server, mail())) == [("PERMANENT", "5.1.1")]
    assert server.taken == []


@pytest.mark.parametrize(
    ("verb", "answer", "expected"),
    [
        (b"MAIL", b"552 5.3.4 too big\r\n", ("PERMANENT", "5.3.4")),
        (b"MAIL", b"452 4.3.1 no space\r\n", ("TEMPORARY", "4.3.1")),
        (b"DATA", b"554 5.6.0 no\r\n", ("PERMANENT", "5.6.0")),
        (b"DATA", b"421 4.3.2 going\r\n", ("TEMPORARY", "4.3.2")),
    ],
)
def test_what_is_said_to_all_counts_for_all(
    site: Site, verb: bytes, answer: bytes, expected: tuple[str, str]
) -> None:
    server = LmtpServer(answers={verb: answer}, extensions=(b"8BITMIME",))
    assert shown(site.deliver(server, mail(), mail("bob@d1.test"))) == [expected] * 2


def test_a_server_without_extensions_gets_no_parameters(site: Site) -> None:
    server = LmtpServer(extensions=(b"X",))
    assert shown(site.deliver(server, mail())) == [DELIVERED]
    assert server.taken[0].mail == b"MAIL FROM:<a@b.test>"


def test_many_recipients_are_several_transactions_on_one_connection(site: Site) -> None:
    server = LmtpServer(end={b"u150@d1.test": b"552 5.2.2 full\r\n"})
    results = site.deliver(server, *(mail(f"u{number}@d1.test") for number in range(250)))
    assert [len(taken.recipients) for taken in server.taken] == [MAX_RECIPIENTS] * 2 + [50]
    assert [index for index, result in enumerate(results) if result.status != "2.0.0"] == [150]
    assert server.connections == 1


# what goes wrong


@pytest.mark.parametrize(
    "server",
    [
        pytest.param(LmtpServer(greeting=b"554 5.3.2 no\r\n"), id="refuses connections"),
        pytest.param(LmtpServer(greeting=b"hello\r\n"), id="speaks something else"),
        pytest.param(LmtpServer(answers={b"LHLO": b"500 5.5.1 what\r\n"}), id="is no LMTP server"),
        pytest.param(LmtpServer(cut_at=b"LHLO"), id="cuts at LHLO"),
        pytest.param(LmtpServer(cut_at=b"MAIL"), id="cuts at MAIL"),
        pytest.param(LmtpServer(cut_at=b"DATA"), id="cuts at DATA"),
        pytest.param(LmtpServer(cut_at=b"END"), id="cuts after the final dot"),
        pytest.param(LmtpServer(answers={b"MAIL": b"garbage\r\n"}), id="garbage"),
        pytest.param(LmtpServer(answers={b"MAIL": b"250-x\r\n" * 200}), id="endless reply"),
    ],
)
def test_a_server_that_fails_is_temporary(site: Site, server: LmtpServer) -> None:
    results = site.deliver(server, mail(), mail("bob@d1.test"))
    assert [result.outcome for result in results] == [TEMPORARY] * 2
    assert str(site.folder) not in results[0].detail


def test_a_connection_lost_between_answers_keeps_those_that_came(site: Site) -> None:
    server = LmtpServer(cut_after=1, rcpt={b"gone@d1.test": b"550 5.1.1 no\r\n"})
    names = ("ann", "gone", "bob")
    results = site.deliver(server, *(mail(f"{name}@d1.test") for name in names))
    assert shown(results) == [DELIVERED, ("PERMANENT", "5.1.1"), ("TEMPORARY", "4.4.2")]


@pytest.mark.parametrize("step", [b"LHLO", b"MAIL", b"DATA", b"END"])
def test_a_server_that_hangs_is_given_up(
    site: Site, monkeypatch: pytest.MonkeyPatch, step: bytes
) -> None:
    for name in ("HELLO_S", "REPLY_S", "END_S"):
        monkeypatch.setattr(peer_link, name, 0.1)
    (result,) = site.deliver(LmtpServer(hang_at=step), mail())
    assert result.outcome is TEMPORARY
    assert "in time" in result.detail


def test_a_server_that_never_ends_a_reply_is_given_up(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each octet is in time; the transaction as a whole is not."""
    monkeypatch.setattr(peer_link, "TRANSACTION_S", 0.3)
    monkeypatch.setattr(peer_link, "REPLY_S", 0.2)
    server = LmtpServer(hang_at=b"MAIL")

    async def scenario(agent: LmtpAgent) -> None:
        running = asyncio.create_task(once(agent, mail()))
        await server.until(lambda: len(server.commands) > 1)
        while not running.done():
            server.say_to_all(b"2")
            await asyncio.wait([running], timeout=0.01)
        (result,) = await running
        assert result.outcome is TEMPORARY
        assert "in time" in result.detail

    site(server, scenario)


@pytest.mark.parametrize("place", ["/nonexistent/lmtp", "127.0.0.1:1"])
def test_no_server_is_temporary(run: Runner, place: str) -> None:
    async def scenario() -> None:
        agent = LmtpAgent(parse_server(place), "mx.test", 1)
        (result,) = await once(agent, mail())
        assert (result.outcome, result.status) == (TEMPORARY, "4.4.1")
        assert place not in result.detail

    run(scenario())


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("/run/lmtp", Server(path="/run/lmtp")),
        ("127.0.0.1:24", Server(host="127.0.0.1", port=24)),
        ("[::1]:24", Server(host="::1", port=24)),
    ],
)
def test_places_of_servers(text: str, server: Server) -> None:
    assert parse_server(text) == server


def test_over_tcp(run: Runner) -> None:
    server = LmtpServer()

    async def scenario() -> None:
        listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        agent = LmtpAgent(parse_server(f"127.0.0.1:{port}"), "mx.test", 1)
        assert shown(await once(agent, mail())) == [DELIVERED]
        agent.close()
        listener.close()
        await server.end_all()

    run(scenario())


# bodies


class Damaged(Pieces):
    def chunks(self) -> Iterator[bytes]:
        yield self.pieces[0]
        raise ContentDamaged("it does not match its sum")


def test_a_large_message_comes_from_the_disk_in_pieces(site: Site) -> None:
    piece = b"x" * 62 + b"\r\n"
    content = Pieces((piece * 4096,) * 40)  # 10 MiB
    server = LmtpServer()
    assert shown(site.deliver(server, mail(), content=content)) == [DELIVERED]
    assert server.taken[0].body == b"".join(content.pieces)


def test_damaged_content_is_never_ended_as_a_message(site: Site) -> None:
    server = LmtpServer()
    content = Damaged((b"Subject: x\r\n\r\nhalf\r\n",))
    with pytest.raises(ContentDamaged):
        site.deliver(server, mail(), content=content)
    assert server.taken == []


def test_a_binary_message_fails(site: Site) -> None:
    server = LmtpServer()
    results = site.deliver(server, mail(), content=MemoryContent(b"A: b\r\n\r\nx\ny\r\n"))
    assert shown(results) == [("PERMANENT", "5.6.1")]
    assert server.taken == []


def test_an_answer_in_the_middle_of_the_body_counts(site: Site) -> None:
    """A server that stops reading and refuses is heard while we are still writing."""
    server = LmtpServer(answers={b"DATA": b"354 go\r\n552 5.3.4 too much\r\n"})
    content = Pieces((b"x" * 998 + b"\r\n",) * 20_000)
    assert shown(site.deliver(server, mail(), content=content)) == [("PERMANENT", "5.3.4")]


# addresses


def test_without_smtputf8_domains_go_as_a_labels(site: Site) -> None:
    server = LmtpServer()
    results = site.deliver(server, mail("ann@ñ.test"), mail("ñandú@ñ.test"))
    assert shown(results) == [DELIVERED, ("PERMANENT", "5.1.3")]
    assert server.taken[0].recipients == [b"ann@xn--ida.test"]


def test_with_smtputf8_addresses_go_as_they_are(site: Site) -> None:
    server = LmtpServer(extensions=UTF8)
    assert shown(site.deliver(server, mail("ñandú@ñ.test"))) == [DELIVERED]
    assert server.taken[0].recipients == ["ñandú@ñ.test".encode()]
    assert server.taken[0].mail.endswith(b" SMTPUTF8")


def test_an_address_that_cannot_be_written_fails_alone(site: Site) -> None:
    server = LmtpServer()
    results = site.deliver(server, mail('"a\rb"@d1.test'), mail())
    assert shown(results) == [("PERMANENT", "5.1.3"), DELIVERED]


def test_the_null_reverse_path(site: Site) -> None:
    server = LmtpServer()
    site.deliver(server, mail(), reverse_path="")
    assert server.taken[0].mail.startswith(b"MAIL FROM:<> ")


# connections


def test_a_connection_is_used_again(site: Site) -> None:
    server = LmtpServer()

    async def scenario(agent: LmtpAgent) -> None:
        for _ in range(5):
            assert shown(await once(agent, mail())) == [DELIVERED]
        assert (server.connections, len(server.taken)) == (1, 5)

    site(server, scenario)


def test_connections_are_bounded(site: Site) -> None:
    server = LmtpServer()
    site.connections = 3

    async def scenario(agent: LmtpAgent) -> None:
        results = await asyncio.gather(*(once(agent, mail()) for _ in range(30)))
        assert [shown(each) for each in results] == [[DELIVERED]] * 30
        assert server.most_open <= 3

    site(server, scenario)


def test_who_gets_no_connection_waits_in_the_queue(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_pool, "SLOT_S", 0.05)
    server = LmtpServer(hang_at=b"MAIL")
    site.connections = 1

    async def scenario(agent: LmtpAgent) -> None:
        first = asyncio.create_task(once(agent, mail()))
        await server.until(lambda: len(server.commands) > 1)
        (late,) = await once(agent, mail())
        assert (late.outcome, late.status) == (TEMPORARY, "4.4.1")
        server.idle.set()
        assert shown(await first) == [DELIVERED]

    site(server, scenario)


@pytest.mark.parametrize("goes", ["cut", "421"])
def test_a_kept_connection_that_died_is_replaced(site: Site, goes: str) -> None:
    server = LmtpServer()

    async def scenario(agent: LmtpAgent) -> None:
        await once(agent, mail())
        if goes == "cut":
            server.cut_all()  # not seen by the agent before it writes
        else:
            server.say_to_all(b"421 4.3.2 idle for too long\r\n")
            await server.until(lambda: not server.open_now)
        assert shown(await once(agent, mail())) == [DELIVERED]
        assert (server.connections, len(server.taken)) == (2, 2)

    site(server, scenario)


def test_an_idle_connection_is_closed_after_a_while(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_pool, "IDLE_S", 0.05)
    server = LmtpServer()

    async def scenario(agent: LmtpAgent) -> None:
        await once(agent, mail())
        await server.until(lambda: not server.open_now)
        assert server.commands[-1] == b"QUIT"

    site(server, scenario)


def test_close_lets_a_running_attempt_end(site: Site) -> None:
    server = LmtpServer(hang_at=b"END")

    async def scenario(agent: LmtpAgent) -> None:
        running = asyncio.create_task(once(agent, mail()))
        await server.until(lambda: b"DATA" in server.commands)
        agent.close()
        server.idle.set()
        assert shown(await running) == [DELIVERED]
        await server.until(lambda: not server.open_now)

    site(server, scenario)


def test_a_cancelled_attempt_leaves_no_connection_in_use(site: Site) -> None:
    server = LmtpServer(hang_at=b"END")
    site.connections = 1

    async def scenario(agent: LmtpAgent) -> None:
        running = asyncio.create_task(once(agent, mail()))
        await server.until(lambda: b"DATA" in server.commands)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        server.hang_at = b""
        server.idle.set()
        assert shown(await once(agent, mail())) == [DELIVERED]
        assert server.connections == 2

    site(server, scenario)
