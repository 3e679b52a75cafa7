"""Mail to other servers: found by a real name server, taken by real servers and by broken ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.config_dir import Setting
from harness.dialog import Dialog
from harness.dns_zones import start_dns
from harness.mail_sink import free_port, start_sink
from harness.processes import Reaper
from harness.scripted_smtp import Gone, Line, Scripted, scripted
from harness.server import RelevoFactory, RelevoServer, run_relevo
from harness.waiting import wait_for

pytestmark = [pytest.mark.needs_debian("nsd"), pytest.mark.needs_debian("postfix")]

ONE, TWO, THREE = "127.0.0.21", "127.0.0.22", "127.0.0.23"
ZONE = (
    "one MX 10 mx1.one",
    f"mx1.one A {ONE}",
    "two MX 10 mx1.two",
    "two MX 20 mx2.two",
    f"mx1.two A {ONE}",
    f"mx2.two A {TWO}",
    "both MX 10 mx.both",
    "mx.both AAAA ::1",
    f"mx.both A {TWO}",
    f"plain A {THREE}",
    "null MX 0 .",
    "private MX 10 mx.private",
    "mx.private A 10.1.2.3",
    "self MX 10 mx",
    "*.shared MX 10 mx1.one",
)
MESSAGE = b"From: user@d1.test\r\nSubject: hello\r\n\r\n.dot\r\nend\r\n"


def sender(
    reaper: Reaper,
    start_relevo: RelevoFactory,
    folder: Path,
    port: int,
    settings: dict[str, Setting] | None = None,
) -> RelevoServer:
    """A server that sends to `port` of the addresses in ZONE."""
    name_server = start_dns(reaper, folder, {"test.": ZONE})
    return start_relevo(
        settings={
            "dns.servers": [str(name_server)],
            "outbound.port": port,
            "outbound.allow_addresses": ["127.0.0.0/8", "::1/128"],
            "spf.check": False,
            "server.workers": 1,
            **(settings or {}),
        }
    )


def submit(
    server: RelevoServer, recipients: Sequence[str], content: bytes = MESSAGE, *, source: str = ""
) -> str:
    """Send as a user; the message's id."""
    with Dialog(server.submission, source=source) as client:
        client.expect(250, "EHLO client.test")
        client.start_tls()
        client.expect(250, "EHLO client.test")
        assert client.log_in("user@d1.test", "secret").code == 235
        client.expect(250, "MAIL FROM:<user@d1.test>")
        for recipient in recipients:
            client.expect(250, f"RCPT TO:<{recipient}>")
        reply = client.message(content)
        assert reply.code == 250, reply
        return reply.text.split()[-1]


def wait_for_line(server: RelevoServer, *texts: str, timeout_s: float = 20.0) -> str:
    """The line of the mail log that has all of these texts."""

    def find() -> str:
        lines = server.mail_log().splitlines()
        return next((line for line in lines if all(text in line for text in texts)), "")

    return wait_for(find, timeout_s=timeout_s, what=f"{texts} in the mail log")


def test_mail_leaves_for_the_mail_exchanger(
    reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    port = free_port(ONE)
    sink = start_sink(reaper, tmp_path, ONE, port)
    server = sender(reaper, start_relevo, tmp_path, port)
    submit(server, ["a@one.test"])
    (message,) = sink.wait_for(1)
    assert b"X-Mail-Args: <user@d1.test>" in message
    assert b"X-Rcpt-Args: <a@one.test>" in message
    assert b"\n.dot\nend\n" in message
    wait_for_line(server, "a@one.test", "sent")


def test_the_next_exchanger_is_tried_and_ipv4_after_ipv6(
    reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    port = free_port(ONE, TWO, "::1")
    sink = start_sink(reaper, tmp_path, TWO, port)
    server = sender(reaper, start_relevo, tmp_path, port)
    submit(server, ["a@two.test"])
    submit(server, ["a@both.test"])
    texts = b"".join(sink.wait_for(2))
    assert b"<a@two.test>" in texts
    assert b"<a@both.test>" in texts


def test_a_domain_without_mx_is_its_own_exchanger(
    reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    port = free_port(THREE)
    sink = start_sink(reaper, tmp_path, THREE, port)
    server = sender(reaper, start_relevo, tmp_path, port)
    submit(server, ["a@plain.test", "b@plain.test"])
    (message,) = sink.wait_for(1)
    assert message.count(b"X-Rcpt-Args: ") == 2


NOWHERE = {
    "a@null.test": "5.1.10",
    "a@nowhere.test": "5.1.2",
    "a@private.test": "5.4.4",
    "a@self.test": "5.4.6",
}


def test_mail_that_can_go_nowhere_comes_back_at_once(
    reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    server = sender(reaper, start_relevo, tmp_path, free_port(ONE))
    mailbox = server.config.mailbox("user@d1.test")
    for count, (recipient, status) in enumerate(NOWHERE.items(), start=1):
        submit(server, [recipient])
        notice = mailbox.wait(count)[-1]
        assert f"Status: {status}".encode() in notice


SAID = {
    "greylisting": "450 4.2.0 come back later",
    "421 in the middle": "421 4.7.0 too busy",
}


@pytest.mark.parametrize("said", SAID)
def test_what_is_deferred_is_sent_at_the_next_try(
    reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path, said: str
) -> None:
    seen: list[bytes] = []

    def answer(_line: Line, command: bytes) -> str | None:
        if command.startswith(b"RCPT"):
            seen.append(command)
            if len(seen) == 1:
                return SAID[said]
        return None

    with scripted(Scripted(ONE, free_port(ONE), answer)) as peer:
        server = sender(reaper, start_relevo, tmp_path, peer.port)
        identity = submit(server, ["a@one.test"])
        wait_for_line(server, "a@one.test", SAID[said].partition(" ")[0])
        retry(reaper, server, identity)
        wait_for(lambda: peer.messages, what="the message")
        assert len(peer.messages) == 1
        wait_for_line(server, "a@one.test", "sent")


def retry(reaper: Reaper, server: RelevoServer, identity: str) -> None:
    path = server.config.path
    process = run_relevo(reaper, "queue", "retry", identity, "--config-dir", path, folder=path)
    assert process.popen.returncode == 0, process.output()


def test_one_refused_recipient_of_ten_fails_alone(
    reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    def answer(_line: Line, command: bytes) -> str | None:
        return "552 5.2.2 mailbox full" if b"<R7@" in command else None

    with scripted(Scripted(ONE, free_port(ONE), answer)) as peer:
        server = sender(reaper, start_relevo, tmp_path, peer.port)
        submit(server, [f"r{number}@one.test" for number in range(10)])
        (notice,) = server.config.mailbox("user@d1.test").wait(1)
        assert b"r7@one.test" in notice
        assert b"552 5.2.2 mailbox full" in notice
        assert b"r6@one.test" not in notice
        assert len(peer.messages) == 1
        assert sum(command.startswith(b"RCPT") for command in peer.commands) == 10


BROKEN_GREETINGS = (
    b"220-" + b"x" * 500,
    b"\xff\xfe\x00garbage\r\n",
    b"554 5.7.1 go away\r\n",
    b"220-endless\r\n" * 100_000,
)


def test_past_a_broken_server_the_next_one_is_asked(
    reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    port = free_port(ONE, TWO)
    sink = start_sink(reaper, tmp_path, TWO, port)
    greeting = [b""]

    def answer(line: Line, command: bytes) -> str | None:
        if command == b"GREETING":
            line.say(greeting[0])
            raise Gone
        return None

    with scripted(Scripted(ONE, port, answer)) as peer:
        server = sender(reaper, start_relevo, tmp_path, port, {"outbound.reuse_idle": "0s"})
        for count, greeting[0] in enumerate(BROKEN_GREETINGS, start=1):
            submit(server, ["a@two.test"])
            sink.wait_for(count)
            assert peer.connections >= count


def test_a_connection_cut_after_the_final_dot_loses_nothing_and_repeats_once(
    reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    bodies: list[bytes] = []

    def answer(line: Line, command: bytes) -> str | None:
        if command == b".":
            bodies.append(command)
            if len(bodies) == 1:
                raise Gone
        return None

    with scripted(Scripted(ONE, free_port(ONE), answer)) as peer:
        server = sender(reaper, start_relevo, tmp_path, peer.port)
        identity = submit(server, ["a@one.test"])
        wait_for_line(server, "a@one.test", "closed the connection")
        retry(reaper, server, identity)
        wait_for_line(server, "a@one.test", "sent")
        assert len(bodies) == 2
        assert len(peer.messages) == 1


def test_connections_are_used_again(
    reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    with scripted(Scripted(ONE, free_port(ONE))) as peer:
        server = sender(reaper, start_relevo, tmp_path, peer.port)
        for number in range(3):
            submit(server, ["a@one.test"])
            wait_for(lambda: len(peer.messages) > number, what="the message")  # noqa: B023
        assert peer.connections == 1


def test_domains_with_the_same_exchanger_share_connections(
    reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    with scripted(Scripted(ONE, free_port(ONE))) as peer:
        settings: dict[str, Setting] = {"outbound.reuse_idle": "30s"}
        server = sender(reaper, start_relevo, tmp_path, peer.port, settings)
        for number in range(8):
            submit(server, [f"a@d{number}.shared.test"])
            wait_for(lambda: len(peer.messages) > number, what="the message")  # noqa: B023
        assert peer.connections == 1
        for burst in (1, 2):  # all domains at once
            submit(server, [f"a@d{number}.shared.test" for number in range(8)])
            wait_for(lambda: len(peer.messages) == 8 + 8 * burst, what="the burst")  # noqa: B023
        assert peer.connections <= 8


def test_routes_and_the_smarthost_take_what_is_theirs(
    reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    """A route for a domain, LMTP with a login-less server, a smarthost with credentials."""
    port = free_port(ONE)
    with (
        scripted(Scripted("127.0.0.1", 0, extensions=("AUTH PLAIN",))) as smarthost,
        scripted(Scripted(TWO, 0)) as other,
        scripted(Scripted(THREE, 0)) as mailboxes,
    ):
        secret = tmp_path / "secret"
        secret.write_text("me\nmy password\n")
        secret.chmod(0o600)
        routes = (
            f'[[route]]\nrecipients = ["*.special.test"]\nservers = ["{TWO}:{other.port}"]\n'
            f'tls = "best"\n[[route]]\nrecipients = ["boxes.test"]\nprotocol = "lmtp"\n'
            f'servers = ["{THREE}:{mailboxes.port}"]\ntls = "best"\n'
        )
        server = sender(
            reaper,
            start_relevo,
            tmp_path,
            port,
            {
                "outbound.smarthost": [f"127.0.0.1:{smarthost.port}"],
                "outbound.smarthost_tls": "best",
                "outbound.smarthost_credentials": str(secret),
            },
        )
        path = server.config.path / "relevo.toml"
        path.write_text(path.read_text() + routes)
        server.reload()
        server.wait_for_log("configuration and files re-read")
        submit(server, ["a@one.test", "b@two.test", "c@x.special.test", "d@boxes.test"])
        wait_for(lambda: smarthost.messages and other.messages and mailboxes.messages, what="all")
        assert any(command.startswith(b"AUTH PLAIN ") for command in smarthost.commands)
        assert sum(command.startswith(b"RCPT") for command in smarthost.commands) == 2
        assert b"LHLO mx.test" in mailboxes.commands
        assert b"RCPT TO:<c@x.special.test>" in other.commands


def test_a_limit_holds_over_all_workers(
    reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    """Whoever accepts a message hands it over to the one worker that may send it."""
    with scripted(Scripted(ONE, free_port(ONE))) as peer:
        settings: dict[str, Setting] = {"server.workers": 3, "outbound.max_per_destination": 1}
        server = sender(reaper, start_relevo, tmp_path, peer.port, settings)
        for number in range(20):
            submit(server, ["a@one.test"], source=f"127.0.0.{number + 1}")
        wait_for(lambda: len(peer.messages) == 20, what="all messages")
        assert peer.most_at_once == 1
