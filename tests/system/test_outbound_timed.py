"""DELIVERBY, FUTURERELEASE and MT-PRIORITY, from a user's client to the next server."""

from __future__ import annotations

import smtplib
import ssl
from pathlib import Path

from harness.processes import Reaper
from harness.scripted_smtp import Line, Scripted, scripted
from harness.server import RelevoFactory, RelevoServer, run_relevo
from harness.waiting import wait_for
from relevo.queue import open_reader
from relevo.queue.store import Summary, Wishes

MESSAGE = "From: user@d1.test\r\nSubject: hello\r\nMT-Priority: 9\r\n\r\ntext\r\n"
TIMED = ("PIPELINING", "8BITMIME", "DELIVERBY 5", "MT-PRIORITY")


def through(start_relevo: RelevoFactory, peer: Scripted) -> RelevoServer:
    """A server that sends all to the peer."""
    return start_relevo(
        settings={
            "outbound.smarthost": [f"{peer.host}:{peer.port}"],
            "outbound.smarthost_tls": "best",
            "smtp.deliver_by_least": "0s",
            "server.workers": 1,
        }
    )


class Client(smtplib.SMTP):
    """A user's, with Python's smtplib."""

    def __init__(self, server: RelevoServer) -> None:
        super().__init__(server.submission.host, server.submission.port, timeout=20)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.starttls(context=context)
        self.login("user@d1.test", "secret")


def submit(server: RelevoServer, *options: str) -> str:
    """Send as a user; the message's id."""
    with Client(server) as client:
        client.ehlo()
        code, text = client.mail("user@d1.test", options)
        assert code == 250, text
        assert client.rcpt("a@r.test")[0] == 250
        code, text = client.data(MESSAGE)
        assert code == 250, text
        return text.decode().split()[-1]


def notice(server: RelevoServer) -> str:
    """The DSN that comes to the user."""
    mailbox = server.config.mailbox("user@d1.test")
    return wait_for(
        lambda: next(iter(mailbox.messages()), b"").decode(), timeout_s=20, what="a notice"
    )


def shown(server: RelevoServer, identity: str) -> Summary:
    with open_reader(server.config.data) as reader:
        found = reader.message(identity)
    assert found is not None
    return found


def test_time_and_priority_go_on_to_a_server_that_knows_them(start_relevo: RelevoFactory) -> None:
    with scripted(Scripted("127.0.0.1", 0, extensions=TIMED)) as peer:
        server = through(start_relevo, peer)
        with Client(server) as client:
            client.ehlo()
            assert {"deliverby", "futurerelease", "mt-priority"} <= client.esmtp_features.keys()
        with smtplib.SMTP(server.smtp.host, server.smtp.port, timeout=20) as stranger:
            stranger.ehlo()
            assert "deliverby" not in stranger.esmtp_features
            assert stranger.mail("a@b.test", ["BY=60;R"])[0] == 555
        submit(server, "BY=600;R", "MT-PRIORITY=4")
        wait_for(lambda: peer.messages, what="the message")
        (mail,) = (line for line in peer.commands if line.startswith(b"MAIL"))
        words = dict(word.split("=") for word in mail.decode().split()[2:] if "=" in word)
        assert words["MT-PRIORITY"] == "4"
        assert 570 <= int(words["BY"].removesuffix(";R")) <= 600
        assert b"\r\n\tPRIORITY 4" in peer.messages[0]
        assert b"MT-Priority" not in peer.messages[0]


def test_of_a_server_that_knows_no_time_the_sender_is_told(start_relevo: RelevoFactory) -> None:
    with scripted(Scripted("127.0.0.1", 0)) as peer:
        server = through(start_relevo, peer)
        submit(server, "BY=600;N", "MT-PRIORITY=-2")
        wait_for(lambda: peer.messages, what="the message")
        assert peer.messages[0].startswith(b"MT-Priority: -2\r\nReceived: ")
        assert peer.messages[0].count(b"MT-Priority") == 1
        text = notice(server)
        assert "Action: relayed" in text
        assert "Deliver-By-Date: " in text


def test_what_is_not_delivered_in_its_time_comes_back(start_relevo: RelevoFactory) -> None:
    def busy(_line: Line, command: bytes) -> str | None:
        return "450 4.2.0 later" if command.startswith(b"RCPT") else None

    with scripted(Scripted("127.0.0.1", 0, answer=busy)) as peer:
        server = through(start_relevo, peer)
        submit(server, "BY=2;R")
        text = notice(server)
    assert "Action: failed" in text
    assert "Status: 5.4.7" in text
    assert not peer.messages


def test_a_held_message_waits_over_a_restart_until_it_is_released(
    reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    with scripted(Scripted("127.0.0.1", 0)) as peer:
        server = through(start_relevo, peer)
        identity = submit(server, "HOLDFOR=86400")
        soon = submit(server, "HOLDFOR=1")
        wait_for(lambda: peer.messages, what="the message that was held for a second")
        assert soon.encode() in peer.messages[0]
        assert server.stop() == 0
        server.start()
        found = shown(server, identity)
        assert found.envelope.wishes == Wishes(hold=86400.0)
        assert found.units[0][1] == found.created + 86400
        where = ("--config-dir", server.config.path)
        listed = run_relevo(reaper, "queue", "list", *where, folder=tmp_path)
        assert "not sent before" in listed.output()
        run_relevo(reaper, "queue", "release", identity, *where, folder=tmp_path)
        wait_for(lambda: len(peer.messages) == 2, what="the message that was released")
        assert identity.encode() in peer.messages[1]
