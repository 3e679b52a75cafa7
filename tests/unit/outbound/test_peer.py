"""Opening connections: what TLS is had, what is refused, and what is tried next."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import Awaitable
from pathlib import Path

import pytest

from harness.authority import Authority
from relevo.delivery import peer_link
from relevo.delivery.link_values import Transacted
from relevo.delivery.peer_link import Deadlines, PeerLink
from relevo.dns import TlsaRecord
from relevo.outbound import peer
from relevo.outbound.credentials import Credentials, Mechanism
from relevo.outbound.host_tls import HostTls, Need
from relevo.outbound.peer import Destination, PeerStep, PeerUnusable, open_peer
from relevo.outbound.tls_contexts import TlsContexts
from relevo.smtp import ClientSettings, Outgoing, OutgoingRecipient
from relevo.smtp.events import Path as MailPath
from unit.delivery.loops import Runner
from unit.outbound.peer_server import PASSWORD, USER, PeerServer, listening

NAME = "mx.b.test"
CLIENT = ClientSettings(hello_name="cli.test")
NONE, ENCRYPTED, VERIFIED = (
    HostTls(need, "why") for need in (Need.NONE, Need.ENCRYPTED, Need.VERIFIED)
)
LETTER = (MailPath("a", "a.test"), (OutgoingRecipient(MailPath("b", "b.test")),))

Contexts = dict[str, ssl.SSLContext]


@pytest.fixture
def contexts(authority: Authority, tmp_path: Path) -> Contexts:
    """A server's, by what is right or wrong with its certificate."""
    certificates = {
        "right": authority.issue(NAME),
        "other name": authority.issue("mx.c.test"),
        "expired": authority.issue(NAME, is_expired=True),
        "unknown": Authority("Somebody").issue(NAME),
    }
    return {
        what: certificate.server_context(tmp_path / what)
        for what, certificate in certificates.items()
    }


@pytest.fixture
def client(ca_file: str) -> TlsContexts:
    return TlsContexts(ca_file)


def opening(
    server: PeerServer, client: TlsContexts, tls: HostTls, credentials: Credentials | None = None
) -> Awaitable[PeerLink]:
    destination = Destination(NAME, "127.0.0.1", server.port)
    return open_peer(destination, tls, CLIENT, client, credentials)


async def send(link: PeerLink) -> Transacted:
    return await link.transact(Outgoing(*LETTER, [b"Subject: x\r\n\r\n.y\r\n"]))


def facts(
    run: Runner, server: PeerServer, client: TlsContexts, tls: HostTls = NONE
) -> tuple[str, str, str]:
    """Version, how it was verified, and why not, of a connection over which a message went."""

    async def check() -> tuple[str, str, str]:
        async with listening(server):
            link = await opening(server, client, tls)
            done = await send(link)
            assert done.results[0] is not None, done
            assert done.results[0].is_accepted
            link.close()
            return link.tls.version, link.tls.how, link.tls.tls_result

    return run(check())


def refusal(
    run: Runner,
    server: PeerServer,
    client: TlsContexts,
    tls: HostTls = NONE,
    credentials: Credentials | None = None,
) -> PeerUnusable:
    async def check() -> PeerUnusable:
        async with listening(server):
            with pytest.raises(PeerUnusable) as caught:
                await opening(server, client, tls, credentials)
            return caught.value

    return run(check())


def test_a_verified_connection(run: Runner, client: TlsContexts, contexts: Contexts) -> None:
    server = PeerServer(contexts["right"])
    assert facts(run, server, client) == ("TLS-1.3", "webpki", "")
    assert (server.connections, server.commands) == (1, [b"EHLO cli.test", b"STARTTLS"])
    assert server.tls_commands[0] == b"EHLO cli.test"
    assert server.bodies == [b"Subject: x\r\n\r\n..y\r\n"]
    assert facts(run, PeerServer(contexts["right"]), client, VERIFIED)[1] == "webpki"


def test_tls_12(run: Runner, client: TlsContexts, contexts: Contexts) -> None:
    contexts["right"].maximum_version = ssl.TLSVersion.TLSv1_2
    assert facts(run, PeerServer(contexts["right"]), client) == ("TLS-1.2", "webpki", "")


@pytest.mark.parametrize(
    ("what", "result"),
    [
        ("other name", "certificate-host-mismatch"),
        ("expired", "certificate-expired"),
        ("unknown", "certificate-not-trusted"),
    ],
)
def test_a_certificate_that_proves_nothing(
    run: Runner, client: TlsContexts, contexts: Contexts, what: str, result: str
) -> None:
    server = PeerServer(contexts[what])
    assert facts(run, server, client) == ("TLS-1.3", "", result)
    assert server.connections == 2, "once more, without the check"
    server = PeerServer(contexts[what])
    assert facts(run, server, client, ENCRYPTED) == ("TLS-1.3", "", result)
    assert server.connections == 1, "what is known is not tried again"
    error = refusal(run, server, client, VERIFIED)
    assert (error.step, error.tls_result, error.is_permanent) == (PeerStep.TLS, result, False)
    assert "why" in str(error)
    assert server.tls_commands.count(b"QUIT") <= 1


@pytest.mark.parametrize("breaks", [b"", b"220 what?\r\n", b"\x15\x03\x01\x00\x02\x02\x28"])
def test_broken_tls_falls_back_to_clear_text_unless_that_is_forbidden(
    run: Runner, client: TlsContexts, contexts: Contexts, breaks: bytes
) -> None:
    server = PeerServer(contexts["right"], breaks_tls=breaks)
    assert facts(run, server, client) == ("", "", "validation-failure")
    assert server.connections == 2
    assert facts(run, server, client) == ("", "", "validation-failure")
    assert server.connections == 3, "known to be broken"
    for tls in (ENCRYPTED, VERIFIED):
        before = len(server.commands)
        error = refusal(run, server, client, tls)
        assert (error.step, error.tls_result) == (PeerStep.TLS, "validation-failure")
        assert not any(line.startswith(b"MAIL") for line in server.commands[before:])


def test_a_server_that_goes_silent_after_tls(
    run: Runner, client: TlsContexts, contexts: Contexts
) -> None:
    server = PeerServer(contexts["right"], is_silent_after_tls=True)
    assert facts(run, server, client)[0] == ""
    assert refusal(run, server, client, ENCRYPTED).step is PeerStep.TLS


def test_starttls_refused(run: Runner, client: TlsContexts, contexts: Contexts) -> None:
    server = PeerServer(contexts["right"], tls_reply=b"454 4.7.0 not now\r\n")
    assert facts(run, server, client) == ("", "", "starttls-not-supported")
    assert "454" in str(refusal(run, server, client, ENCRYPTED))


def test_no_starttls(run: Runner, client: TlsContexts) -> None:
    assert facts(run, PeerServer(), client) == ("", "", "starttls-not-supported")
    error = refusal(run, PeerServer(), client, ENCRYPTED)
    assert (error.step, error.tls_result) == (PeerStep.TLS, "starttls-not-supported")


def test_octets_behind_the_220_are_not_believed(
    run: Runner, client: TlsContexts, contexts: Contexts
) -> None:
    server = PeerServer(contexts["right"], tls_reply=b"220 go\r\n250 injected\r\n")
    assert refusal(run, server, client, ENCRYPTED).step is PeerStep.TLS
    assert server.tls_commands == []


def test_what_was_offered_in_clear_is_forgotten(
    run: Runner, client: TlsContexts, contexts: Contexts
) -> None:
    async def check() -> None:
        async with listening(PeerServer(contexts["right"], tls_extensions=(b"DSN",))) as server:
            link = await opening(server, client, NONE)
            assert dict(link.extensions) == {"DSN": "", "END": ""}
            link.close()

    run(check())


def test_a_session_is_resumed(run: Runner, client: TlsContexts, contexts: Contexts) -> None:
    server = PeerServer(contexts["right"])
    assert facts(run, server, client)[1] == "webpki"
    assert server.resumed == 0
    assert facts(run, server, client, VERIFIED)[1] == "webpki"
    assert server.resumed == 1


def test_a_session_of_other_authorities_is_not_resumed(
    run: Runner, client: TlsContexts, contexts: Contexts, ca_file: str
) -> None:
    """Also when its connection outlives the reload."""
    server = PeerServer(contexts["right"])

    async def check() -> None:
        async with listening(server):
            link = await opening(server, client, VERIFIED)
            await send(link)
            client.use(ca_file)
            link.close()

    run(check())
    assert facts(run, server, client, VERIFIED)[1] == "webpki"
    assert server.resumed == 0


def test_a_session_made_without_a_check_is_not_used_where_one_is_demanded(
    run: Runner, client: TlsContexts, contexts: Contexts
) -> None:
    server = PeerServer(contexts["unknown"])
    for _ in range(2):
        assert facts(run, server, client)[1] == ""
    assert server.resumed == 1
    assert refusal(run, server, client, VERIFIED).tls_result == "certificate-not-trusted"


def test_no_tls_where_none_is_wanted(run: Runner, client: TlsContexts, contexts: Contexts) -> None:
    server = PeerServer(contexts["right"])
    assert facts(run, server, client, HostTls(is_offered=False))[0] == ""
    assert b"STARTTLS" not in server.commands


def test_tls_from_the_first_octet(run: Runner, client: TlsContexts, contexts: Contexts) -> None:
    implicit = HostTls(Need.VERIFIED, is_implicit=True)
    server = PeerServer(contexts["right"], is_implicit=True)
    assert facts(run, server, client, implicit) == ("TLS-1.3", "webpki", "")
    assert b"STARTTLS" not in server.tls_commands
    server = PeerServer(contexts["unknown"], is_implicit=True)
    assert refusal(run, server, client, implicit).tls_result == "certificate-not-trusted"
    best = HostTls(is_implicit=True)
    assert facts(run, server, client, best) == ("TLS-1.3", "", "certificate-not-trusted")


def dane(*records: TlsaRecord) -> HostTls:
    return HostTls(Need.DANE, "its TLSA records", tlsa=records)


def test_dane(run: Runner, client: TlsContexts, authority: Authority, tmp_path: Path) -> None:
    certificate = Authority("Somebody").issue("any.test")
    server = PeerServer(certificate.server_context(tmp_path))
    right = TlsaRecord(3, 1, 1, hashlib.sha256(certificate.key_der).digest())
    wrong = TlsaRecord(3, 1, 1, bytes(32))
    for _ in range(2):
        assert facts(run, server, client, dane(wrong, right)) == ("TLS-1.3", "dane", "")
    assert server.resumed == 0, "a resumed session shows no certificate"
    error = refusal(run, server, client, dane(wrong))
    assert (error.step, error.tls_result) == (PeerStep.TLS, "validation-failure")
    assert server.tls_commands.count(b"EHLO cli.test") == 2, "nothing is said to a wrong server"


@pytest.mark.parametrize("mechanism", Mechanism)
def test_logging_in(
    run: Runner, client: TlsContexts, contexts: Contexts, mechanism: Mechanism
) -> None:
    async def check(secret: str) -> list[bytes]:
        offer = b"AUTH X " + mechanism.value.lower().encode()
        async with listening(PeerServer(contexts["right"], tls_extensions=(offer,))) as server:
            credentials = Credentials(USER, secret, tuple(Mechanism))
            link = await opening(server, client, VERIFIED, credentials)
            done = await send(link)
            assert done.results[0] is not None
            link.close()
            return server.tls_commands

    commands = run(check(PASSWORD))
    assert commands[1].startswith(b"AUTH " + mechanism.value.encode())
    with pytest.raises(PeerUnusable, match="535") as caught:
        run(check("wrong"))
    assert (caught.value.step, caught.value.code) == (PeerStep.AUTH, 535)
    assert "wrong" not in str(caught.value)


def test_a_server_that_does_not_know_the_password_but_says_235(
    run: Runner, client: TlsContexts, contexts: Contexts
) -> None:
    extensions = (b"AUTH SCRAM-SHA-256", b"LIES")
    server = PeerServer(contexts["right"], tls_extensions=extensions)
    error = refusal(run, server, client, VERIFIED, Credentials(USER, PASSWORD))
    assert error.step is PeerStep.AUTH


def test_credentials_are_not_sent_in_clear(
    run: Runner, client: TlsContexts, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = Credentials(USER, PASSWORD)
    server = PeerServer(extensions=(b"AUTH PLAIN",))

    async def check() -> None:
        async with listening(server):
            link = await opening(server, client, NONE, credentials)  # loopback
            link.close()

    run(check())
    assert len(server.commands) == 2
    monkeypatch.setattr(peer, "ip_address", lambda _: peer_address("192.0.2.1"))
    server.commands.clear()
    error = refusal(run, server, client, NONE, credentials)
    assert (error.step, server.commands) == (PeerStep.AUTH, [b"EHLO cli.test"])


def peer_address(text: str) -> object:
    from ipaddress import ip_address

    return ip_address(text)


def test_no_mechanism_in_common(run: Runner, client: TlsContexts, contexts: Contexts) -> None:
    server = PeerServer(contexts["right"], tls_extensions=(b"AUTH GSSAPI",))
    error = refusal(run, server, client, NONE, Credentials(USER, PASSWORD))
    assert "GSSAPI" in str(error)


@pytest.mark.parametrize(
    ("server", "step", "code"),
    [
        (PeerServer(greeting=b"554 5.7.1 go away\r\n"), PeerStep.GREETING, 554),
        (PeerServer(greeting=b"421 later\r\n"), PeerStep.GREETING, 421),
        (PeerServer(greeting=b"\xff\xfe\x00garbage\r\n"), PeerStep.GREETING, 0),
        (PeerServer(greeting=b"220-" + b"x" * 5000 + b"\r\n"), PeerStep.GREETING, 0),
        (PeerServer(greeting=b"220-x\r\n" * 200), PeerStep.GREETING, 0),
        (PeerServer(answers={b"EHLO": b"421 busy\r\n"}), PeerStep.HELLO, 421),
        (
            PeerServer(answers={b"EHLO": b"550 5.7.1 no\r\n", b"HELO": b"550 5.7.1 no\r\n"}),
            PeerStep.HELLO,
            550,
        ),
    ],
)
def test_servers_that_do_not_want(
    run: Runner, client: TlsContexts, server: PeerServer, step: PeerStep, code: int
) -> None:
    error = refusal(run, server, client)
    assert (error.step, error.code, error.is_permanent) == (step, code, code >= 500)
    assert str(error).startswith(NAME)


def test_helo_where_ehlo_is_unknown(run: Runner, client: TlsContexts) -> None:
    server = PeerServer(answers={b"EHLO": b"502 what?\r\n"})
    assert facts(run, server, client)[0] == ""
    assert server.commands[1] == b"HELO cli.test"


def test_nobody_listens(run: Runner, client: TlsContexts) -> None:
    server = PeerServer()

    async def check() -> PeerUnusable:
        async with listening(server):
            pass
        with pytest.raises(PeerUnusable) as caught:
            await opening(server, client, NONE)
        return caught.value

    assert run(check()).step is PeerStep.CONNECT


def test_silence_ends(
    run: Runner, client: TlsContexts, contexts: Contexts, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = Deadlines(connect=1, hello=0.2, reply=1, write=1, end=1, transaction=1)
    monkeypatch.setattr(peer, "FAR", far)
    monkeypatch.setattr(peer_link, "HANDSHAKE_S", 0.2)
    error = refusal(run, PeerServer(greeting=b"220-slow\r\n"), client)
    assert error.step is PeerStep.GREETING
    assert "in time" in str(error)
    hangs = PeerServer(contexts["right"], hangs_in_tls=True)
    assert refusal(run, hangs, client, ENCRYPTED).step is PeerStep.TLS


def test_a_name_that_tls_cannot_ask_for(
    run: Runner, client: TlsContexts, contexts: Contexts
) -> None:
    async def check() -> tuple[str, PeerUnusable]:
        async with listening(PeerServer(contexts["right"])) as server:
            destination = Destination(".b.test", "127.0.0.1", server.port)
            link = await open_peer(destination, NONE, CLIENT, client)
            link.close()
            with pytest.raises(PeerUnusable) as caught:
                await open_peer(destination, VERIFIED, CLIENT, client)
            return link.tls.version, caught.value

    version, error = run(check())
    assert (version, error.step) == ("", PeerStep.TLS)


def test_the_source_address(run: Runner, client: TlsContexts) -> None:
    async def check() -> str:
        seen: list[str] = []

        async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.append(writer.get_extra_info("peername")[0])
            writer.close()

        listener = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        destination = Destination(NAME, "127.0.0.1", port, source="127.0.0.9")
        with pytest.raises(PeerUnusable):
            await open_peer(destination, NONE, CLIENT, client)
        listener.close()
        return seen[0]

    assert run(check()) == "127.0.0.9"


@pytest.mark.parametrize("verb", [b"MAIL", b"RCPT", b"DATA"])
@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"421 4.3.2 going away\r\n", 421),
        (b"\xff\x00garbage\r\n", 0),
        (b"250-" + b"x" * 5000 + b"\r\n", 0),
        (b"250-x\r\n" * 200, 0),
        (b"250 x\r\n" * 9, 0),
        (b"999 x\r\n", 0),
        (b"250-one\r\n550 two\r\n", 0),
    ],
)
def test_what_breaks_in_a_transaction_ends_it_and_the_connection(
    run: Runner, client: TlsContexts, verb: bytes, answer: bytes, code: int
) -> None:
    async def check() -> None:
        async with listening(PeerServer(answers={verb: answer})) as server:
            link = await opening(server, client, NONE)
            done = await send(link)
            assert not link.is_usable
            (result,) = done.results
            assert (result.reply.code if result else 0) == code
            assert bool(done.failure) is (code == 0)
            assert server.bodies == []

    run(check())
