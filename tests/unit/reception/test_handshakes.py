"""TLS handshakes take turns with everything else that the loop has to do."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import cast

from harness.certificates import client_context, write_certificate
from relevo.reception import Mode
from relevo.reception.handshakes import HandshakeTurns
from unit.reception.conftest import Client, Place, Running, settle


def step(done: list[str], name: str) -> Callable[[], bool]:
    """A step that notes its name."""

    def take() -> bool:
        done.append(name)
        return True

    return take


def test_a_lone_handshake_does_not_wait(running: Running) -> None:
    async def run() -> None:
        turns = HandshakeTurns()
        done: list[str] = []
        turns.ask(step(done, "step"))
        assert done == ["step"]
        assert len(turns) == 0

    running(run())


def test_between_two_steps_everybody_else_has_a_turn(running: Running) -> None:
    async def run() -> None:
        turns = HandshakeTurns()
        loop = asyncio.get_running_loop()
        done: list[str] = []

        def serve_others() -> None:
            if len(turns):
                done.append("-")
                loop.call_soon(serve_others)

        for name in "abcd":
            turns.ask(step(done, name))
        loop.call_soon(serve_others)
        await settle()
        assert "".join(done) in {"a-b-c-d", "ab-c-d"}

    running(run())


def test_who_is_gone_takes_no_turn(running: Running) -> None:
    async def run() -> None:
        turns = HandshakeTurns()
        done: list[str] = []
        turns.ask(step(done, "a"))
        for _ in range(1000):
            turns.ask(lambda: False)
        turns.ask(step(done, "b"))
        await asyncio.sleep(0)
        assert done == ["a", "b"]

    running(run())


class Handshake:
    """A TLS client in memory."""

    def __init__(self) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = client_context().wrap_bio(self.incoming, self.outgoing)

    def next_octets(self, answer: bytes = b"") -> bytes:
        self.incoming.write(answer)
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self.outgoing.read()


def server_context(place: Place) -> ssl.SSLContext:
    folder = place.config.config_dir / "certs" / "mx.test"
    write_certificate(folder, "mx.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "fullchain.pem", folder / "privkey.pem")
    return context


def output_of(client: Client) -> bytes:
    output = bytes(client.transport.written)
    client.transport.written.clear()
    return output


def test_a_flood_of_handshakes_is_served_one_a_round_and_then_completes(
    place: Place, running: Running
) -> None:
    async def run() -> None:
        services = place.services()
        services.tls_context = server_context(place)
        pairs = [(place.connect(Mode.SUBMISSION_TLS, services), Handshake()) for _ in range(10)]
        for client, handshake in pairs:
            client.connection.data_received(handshake.next_octets())
        answered = [bool(client.transport.written) for client, _ in pairs]
        assert answered == [True] + [False] * 9
        assert [client.transport.is_reading for client, _ in pairs] == answered
        await asyncio.sleep(0)
        assert sum(bool(client.transport.written) for client, _ in pairs) == 2
        await settle()
        for client, handshake in pairs:
            client.connection.data_received(handshake.next_octets(output_of(client)))
        await settle()
        for client, handshake in pairs:
            assert client.connection.tls_version == "TLS-1.3"
            handshake.incoming.write(output_of(client))
            assert handshake.tls.read(100).startswith(b"220 ")
            assert client.transport.is_reading

    running(run())


def test_who_waits_for_a_turn_has_a_deadline(place: Place, running: Running) -> None:
    async def run() -> None:
        services = place.services()
        services.tls_context = server_context(place)
        services.handshakes = cast("HandshakeTurns", Never())
        client = place.connect(Mode.SUBMISSION_TLS, services)
        client.connection.data_received(Handshake().next_octets())
        now = asyncio.get_running_loop().time()
        client.connection.check_deadlines(now + 9)
        assert not client.transport.is_closed
        client.connection.check_deadlines(now + 11)
        assert client.transport.is_closed

    running(run())


class Never:
    """A line in which it is never one's turn."""

    def ask(self, step: object) -> None:
        """And so it is dropped."""
