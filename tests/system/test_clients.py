"""Real mail clients deliver over plain SMTP, STARTTLS and implicit TLS, octet for octet."""

from __future__ import annotations

import smtplib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.certificates import client_context
from harness.debian import program
from harness.maildir import split_trace
from harness.processes import Process
from harness.server import Address, RelevoFactory, RelevoServer
from harness.tunnel import Transport, Tunnel

SENDER = "user@d1.test"
RECIPIENT = "juan@d1.test"
PASSWORD = "secret"

# what breaks careless servers: dots, From lines, blanks at line ends, UTF-8, a line over 998 octets
MESSAGE = (
    "From: user@d1.test\r\n"
    "To: juan@d1.test\r\n"
    "Subject: =?utf-8?q?=C3=B1and=C3=BA?=\r\n"
    "Date: Tue, 24 Nov 2026 07:39:31 +0000\r\n"
    "Message-ID: <first@client.test>\r\n"
    "X-Folded: one\r\n\ttwo\r\n"
    "\r\n"
    ".starts with a dot\r\n"
    "..starts with two\r\n"
    ".\tis not the end\r\n"
    "From the start of a line\r\n"
    "blanks behind  \t\r\n"
    "ñandú, 漢字, 🐦\r\n"
    "\r\n"
    f"{'long ' * 300}\r\n"
    "\r\n"
    "last line\r\n"
).encode()


@dataclass(frozen=True, slots=True)
class Delivery:
    """One client's task."""

    server: RelevoServer
    transport: Transport
    mechanism: str | None  # None: without AUTH
    folder: Path

    @property
    def address(self) -> Address:
        match self.transport:
            case Transport.PLAIN:
                return self.server.smtp
            case Transport.STARTTLS:
                return self.server.submission
            case Transport.TLS:
                return self.server.submission_tls

    @property
    def login(self) -> tuple[str, str] | None:
        return (SENDER, PASSWORD) if self.mechanism else None

    @property
    def chain(self) -> str:
        return str(self.server.config.chain)

    def file(self, message: bytes) -> Path:
        path = self.folder / "message.eml"
        path.write_bytes(message)
        return path

    def run(self, *command: str | Path, stdin: Path | None = None) -> Process:
        process = self.server.reaper.start(
            command,
            log=self.folder / "client.log",
            cwd=self.folder,
            stdin=stdin,
            env={"HOME": str(self.folder)},
        )
        status = process.wait(30)
        assert status == 0, process.output()
        return process


Send = Callable[[Delivery], bytes]  # sends, and gives the message as it was sent


def send_with_swaks(delivery: Delivery) -> bytes:
    tls = {
        Transport.PLAIN: [],
        Transport.STARTTLS: ["--tls"],
        Transport.TLS: ["--tls-on-connect"],
    }
    text = delivery.file(MESSAGE.removesuffix(b"\r\n"))  # swaks ends the last line itself
    words: list[str | Path] = ["--server", delivery.address.host]
    words += ["--port", str(delivery.address.port), "--helo", "client.test"]
    words += ["--from", SENDER, "--to", RECIPIENT, "--data", text]
    words += tls[delivery.transport]
    if delivery.transport is not Transport.PLAIN:
        words += ["--tls-verify", "--tls-ca-path", delivery.chain]
    if delivery.mechanism:
        words += ["--auth", delivery.mechanism, "--auth-user", SENDER]
        words += ["--auth-password", PASSWORD]
    shown = delivery.run(program("swaks"), *words).output()
    assert ("235 2.7.0" in shown) == bool(delivery.mechanism)
    return MESSAGE


def send_with_msmtp(delivery: Delivery) -> bytes:
    tls = {
        Transport.PLAIN: ["--tls=off"],
        Transport.STARTTLS: ["--tls=on", "--tls-starttls=on"],
        Transport.TLS: ["--tls=on", "--tls-starttls=off"],
    }
    words = [f"--host={delivery.address.host}", f"--port={delivery.address.port}"]
    words += ["--domain=client.test", f"--from={SENDER}", *tls[delivery.transport]]
    if delivery.transport is not Transport.PLAIN:
        words += [f"--tls-trust-file={delivery.chain}"]
    if delivery.mechanism:
        words += [f"--auth={delivery.mechanism.lower()}", f"--user={SENDER}"]
        words += [f"--passwordeval=echo {PASSWORD}"]
    text = delivery.file(MESSAGE.replace(b"\r\n", b"\n"))  # as mail programs pipe it
    delivery.run(program("msmtp"), *words, "--", RECIPIENT, stdin=text)
    return MESSAGE


def send_with_curl(delivery: Delivery) -> bytes:
    scheme = "smtps" if delivery.transport is Transport.TLS else "smtp"
    words = ["--silent", "--show-error", "--url", f"{scheme}://{delivery.address}/client.test"]
    words += ["--mail-from", SENDER, "--mail-rcpt", RECIPIENT]
    words += ["--upload-file", str(delivery.file(MESSAGE))]
    if delivery.transport is not Transport.PLAIN:
        words += ["--ssl-reqd", "--cacert", delivery.chain]
    if delivery.mechanism:
        words += ["--user", f"{SENDER}:{PASSWORD}"]
        words += ["--login-options", f"AUTH={delivery.mechanism}"]
    delivery.run(program("curl"), *words)
    return MESSAGE


def send_with_smtplib(delivery: Delivery) -> bytes:
    context = client_context(delivery.server.config.chain)
    host, port = delivery.address
    if delivery.transport is Transport.TLS:
        client: smtplib.SMTP = smtplib.SMTP_SSL(host, port, "client.test", context=context)
    else:
        client = smtplib.SMTP(host, port, "client.test")
    with client:
        if delivery.transport is Transport.STARTTLS:
            client.starttls(context=context)
        if delivery.mechanism:
            client.ehlo()
            client.user, client.password = SENDER, PASSWORD
            methods = {"PLAIN": client.auth_plain, "LOGIN": client.auth_login}
            client.auth(delivery.mechanism, methods[delivery.mechanism])
        assert client.sendmail(SENDER, RECIPIENT, MESSAGE) == {}
    return MESSAGE


def send_with_smtp_source(delivery: Delivery) -> bytes:
    """smtp-source knows neither TLS nor AUTH: a tunnel does these, and keeps what it sent."""
    with Tunnel(delivery.address, delivery.transport, delivery.login) as tunnel:
        host, port = tunnel.address
        words = ["-s", "1", "-m", "1", "-l", "5000", "-M", "client.test", "-f", SENDER]
        delivery.run(program("smtp-source"), *words, "-t", RECIPIENT, f"{host}:{port}")
    return tunnel.message()


PLAIN, STARTTLS, TLS = Transport.PLAIN, Transport.STARTTLS, Transport.TLS
WAYS = ((PLAIN, None), (STARTTLS, "PLAIN"), (STARTTLS, "LOGIN"), (TLS, "PLAIN"), (TLS, "LOGIN"))
CLIENTS: tuple[tuple[str, Send, str | None], ...] = (
    ("swaks", send_with_swaks, "swaks"),
    ("msmtp", send_with_msmtp, "msmtp"),
    ("curl", send_with_curl, "curl"),
    ("smtplib", send_with_smtplib, None),
    ("smtp-source", send_with_smtp_source, "postfix"),
)


@pytest.mark.parametrize(
    ("transport", "mechanism"),
    [pytest.param(*way, id=f"{way[0].value}-{way[1] or 'no auth'}".lower()) for way in WAYS],
)
@pytest.mark.parametrize(
    "send",
    [
        pytest.param(send, id=name, marks=[pytest.mark.needs_debian(package)] if package else [])
        for name, send, package in CLIENTS
    ],
)
def test_a_message_arrives_as_it_was_sent(
    start_relevo: RelevoFactory,
    tmp_path: Path,
    send: Send,
    transport: Transport,
    mechanism: str | None,
) -> None:
    server = start_relevo()
    sent = send(Delivery(server, transport, mechanism, tmp_path))
    [delivered] = server.config.mailbox(RECIPIENT).wait()
    trace, content = split_trace(delivered)
    assert content == sent.replace(b"\r\n", b"\n")
    protocol = {PLAIN: b"ESMTP", STARTTLS: b"ESMTPSA", TLS: b"ESMTPSA"}[transport]
    assert b" with " + protocol + b" id " in trace
    assert b"Return-Path: <user@d1.test>\n" in trace
    assert b"Delivered-To: juan@d1.test\n" in trace


@pytest.mark.needs_debian("msmtp")
def test_msmtp_logs_in_by_scram_once_the_user_has_keys(
    start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    server = start_relevo(settings={"auth.mechanisms": ["PLAIN", "LOGIN", "SCRAM-SHA-256"]})
    send_with_smtplib(Delivery(server, STARTTLS, "PLAIN", tmp_path))  # writes the missing key
    send_with_msmtp(Delivery(server, STARTTLS, "SCRAM-SHA-256", tmp_path))
    assert len(server.config.mailbox(RECIPIENT).wait(2)) == 2


@pytest.mark.needs_debian("swaks")
def test_swaks_is_told_that_a_password_is_wrong(
    start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    server = start_relevo()
    words = ["--server", f"{server.submission}", "--from", SENDER, "--to", RECIPIENT, "--tls"]
    words += ["--auth", "PLAIN", "--auth-user", SENDER, "--auth-password", "wrong"]
    client = server.reaper.start([program("swaks"), *words], log=tmp_path / "log", cwd=tmp_path)
    assert client.wait(30) == 28  # swaks: authentication failed
    assert "535 5.7.8" in client.output()
