"""Mail that goes on, comes back and is told of; sendmail with and without a server."""

from __future__ import annotations

import subprocess
import time
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest

from harness.config_dir import Domain, Setting
from harness.dialog import Dialog
from harness.dns_zones import start_dns
from harness.mail_sink import free_port
from harness.processes import Reaper
from harness.scripted_smtp import Line, Scripted, scripted
from harness.server import RELEVO, RelevoFactory, RelevoServer, run_relevo
from harness.waiting import wait_for
from relevo.cli.sendmail_ways import Letter, NotTaken, send_over_smtp
from relevo.config import load
from relevo.mail import parse_address
from relevo.queue import new_id

pytestmark = pytest.mark.needs_debian("nsd")

SINK, REFUSER = "127.0.0.31", "127.0.0.32"
ZONE = (
    "far MX 10 mx.far",
    f"mx.far A {SINK}",
    "no MX 10 mx.no",
    f"mx.no A {REFUSER}",
)
MESSAGE = b"From: a@far.test\r\nMessage-ID: <m1@far.test>\r\nSubject: hi\r\n\r\nHello\r\n"


def started(
    reaper: Reaper,
    start_relevo: RelevoFactory,
    folder: Path,
    port: int,
    settings: dict[str, Setting] | None = None,
) -> RelevoServer:
    """A server that sends to `port` of the addresses in ZONE, with aliases that lead there."""
    name_server = start_dns(reaper, folder, {"test.": ZONE})
    users = {"user": "secret", "juan": "secret2"}
    return start_relevo(
        domains={"d1.test": Domain(users, "away: x@far.test\nlost: x@no.test\n")},
        settings={
            "dns.servers": [str(name_server)],
            "outbound.port": port,
            "outbound.allow_addresses": ["127.0.0.0/8"],
            "spf.check": False,
            "server.workers": 1,
            **(settings or {}),
        },
    )


def send(
    server: RelevoServer,
    sender: str,
    recipient: str,
    *,
    parameters: str = "",
    login: bool = False,
) -> None:
    """One message from outside, or from user@d1.test."""
    with Dialog(server.submission if login else server.smtp) as client:
        client.expect(250, "EHLO client.test")
        if login:
            client.start_tls()
            client.expect(250, "EHLO client.test")
            assert client.log_in("user@d1.test", "secret").code == 235
        client.expect(250, f"MAIL FROM:<{sender}>")
        client.expect(250, f"RCPT TO:<{recipient}> {parameters}".rstrip())
        message = MESSAGE.replace(b"a@far.test", b"user@d1.test") if login else MESSAGE
        assert client.message(message).code == 250


def report(octets: bytes) -> tuple[EmailMessage, EmailMessage]:
    """A DSN: the fields of the message and of its one recipient."""
    dsn = message_from_bytes(octets, policy=policy.default)
    assert dsn.get_content_type() == "multipart/report"
    assert dsn.get_param("report-type") == "delivery-status"
    text, status, _ = list(dsn.iter_parts())
    assert text.get_content_type() == "text/plain"
    assert status.get_content_type() == "message/delivery-status"
    blocks = status.get_payload()
    assert isinstance(blocks, list)
    of_message, of_recipient = blocks
    assert isinstance(of_message, EmailMessage)
    assert isinstance(of_recipient, EmailMessage)
    return of_message, of_recipient


def refuse(_line: Line, command: bytes) -> str | None:
    return "550 5.1.1 nobody of that name" if command.startswith(b"RCPT") else None


def defer(_line: Line, command: bytes) -> str | None:
    return "450 4.2.0 not now" if command.startswith(b"RCPT") else None


def path_of(command: bytes) -> str:
    return command.decode().partition("<")[2].partition(">")[0]


def test_forwarded_mail_leaves_with_an_address_whose_bounces_find_the_sender(
    reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    with scripted(Scripted(SINK, free_port(SINK))) as peer:
        server = started(reaper, start_relevo, tmp_path, peer.port)
        send(server, "a@far.test", "away@d1.test")
        wait_for(lambda: peer.messages, what="the forwarded message")
        made = next(path_of(one) for one in peer.commands if one.startswith(b"MAIL"))
        assert made.startswith("SRS0=")
        assert made.endswith("=far.test=a@d1.test")
        peer.commands.clear()
        send(server, "", made)
        wait_for(lambda: len(peer.messages) == 2, what="the bounce")
        assert b"MAIL FROM:<>" in b"\n".join(peer.commands)
        assert b"RCPT TO:<a@far.test>" in b"\n".join(peer.commands)


def test_the_sender_hears_of_forwarded_mail_that_is_refused(
    reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    port = free_port(SINK, REFUSER)
    with scripted(Scripted(REFUSER, port, refuse)), scripted(Scripted(SINK, port)) as far:
        server = started(reaper, start_relevo, tmp_path, port)
        send(server, "a@far.test", "lost@d1.test")
        wait_for(lambda: far.messages, what="the DSN")
        of_message, of_recipient = report(far.messages[0])
        assert of_message["Reporting-MTA"] == "dns; mx.test"
        assert of_recipient["Original-Recipient"] == "rfc822; lost@d1.test"
        assert of_recipient["Remote-MTA"] == "dns; mx.no.test"
        assert of_recipient["Diagnostic-Code"] == "smtp; 550 5.1.1 nobody of that name"


@pytest.mark.parametrize("offers_dsn", [False, True])
def test_success_is_told_by_us_or_by_the_server_that_offers_dsn(
    reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path, offers_dsn: bool
) -> None:
    extensions = ("PIPELINING", "8BITMIME", *(("DSN",) if offers_dsn else ()))
    with scripted(Scripted(SINK, free_port(SINK), extensions=extensions)) as peer:
        server = started(reaper, start_relevo, tmp_path, peer.port)
        mailbox = server.config.mailbox("user@d1.test")
        for recipient in ("x@far.test", "juan@d1.test"):
            send(server, "user@d1.test", recipient, parameters="NOTIFY=SUCCESS", login=True)
        wait_for(lambda: peer.messages, what="the message")
        found = [report(octets)[1] for octets in mailbox.wait(1 if offers_dsn else 2)]
        told = {fields["Final-Recipient"]: fields["Action"] for fields in found}
        expected = {"rfc822; juan@d1.test": "delivered"}
        if not offers_dsn:
            expected["rfc822; x@far.test"] = "relayed"
        assert told == expected
        has_notify = any(b"NOTIFY=SUCCESS" in command for command in peer.commands)
        assert has_notify is offers_dsn


def test_delay_is_told_once(reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path) -> None:
    with scripted(Scripted(SINK, free_port(SINK), defer)) as peer:
        settings: dict[str, Setting] = {"queue.delay_notice": "1ms"}
        server = started(reaper, start_relevo, tmp_path, peer.port, settings)
        send(server, "user@d1.test", "x@far.test", login=True)
        mailbox = server.config.mailbox("user@d1.test")
        _, of_recipient = report(mailbox.wait(1)[0])
        assert of_recipient["Action"] == "delayed"
        assert of_recipient["Status"] == "4.2.0"
        assert of_recipient["Will-Retry-Until"]
        tries = len(peer.commands)
        path = server.config.path
        run_relevo(reaper, "queue", "retry", "--all", "--config-dir", path, folder=path)
        wait_for(lambda: len(peer.commands) > tries, what="another try")
        assert len(mailbox.messages()) == 1


def test_sendmail_needs_no_running_server(
    reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    with scripted(Scripted(SINK, free_port(SINK))) as peer:
        server = started(reaper, start_relevo, tmp_path, peer.port)
        path = server.config.path

        def sendmail(*words: str) -> int:
            command = [str(RELEVO), "sendmail", "--config-dir", str(path), *words]
            text = b"To: x@far.test, juan@d1.test\nSubject: hi\n\nHello\n"
            return subprocess.run(command, input=text, cwd=path, timeout=30, check=False).returncode

        server.stop()
        assert sendmail("-t", "-f", "user@d1.test") == 0
        assert not server.config.mailbox("juan@d1.test").files()
        server.start()
        wait_for(lambda: len(peer.messages) == 1, what="what came while it was down")
        assert sendmail("-t", "-oi", "-fuser@d1.test") == 0
        wait_for(lambda: len(peer.messages) == 2, what="what came while it ran")
        assert len(server.config.mailbox("juan@d1.test").wait(2)) == 2
        assert b"Received: by mx.test (relevo, from user id" in peer.messages[0]


@pytest.mark.parametrize("networks", [[], ["127.0.0.0/8"]])
def test_who_may_not_write_the_queue_sends_over_smtp_as_far_as_the_server_lets_it(
    reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path, networks: list[str]
) -> None:
    with scripted(Scripted(SINK, free_port(SINK))) as peer:
        settings: dict[str, Setting] = {"relay.networks": networks}
        server = started(reaper, start_relevo, tmp_path, peer.port, settings)
        letter = Letter(
            id=new_id(),
            reverse_path=parse_address("user@d1.test"),
            recipients=(parse_address("x@far.test"),),
            data=b"Subject: hi\r\n\r\nHello\r\n",
            trace=b"",
            user="www",
            now=time.time(),
        )
        config = load(server.config.path, (f"listen.smtp={server.smtp}",))
        if networks:
            send_over_smtp(config, letter)
            wait_for(lambda: peer.messages, what="the message")
        else:
            with pytest.raises(NotTaken, match="Relaying is not allowed"):
                send_over_smtp(config, letter)
