"""Mail over TLS to and from Postfix, chasquid and another relevo arrives octet by octet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from harness.authority import Authority
from harness.chasquid import ChasquidServer, chasquid_config, chasquid_util, recorded
from harness.config_dir import Domain, Setting, relevo_config
from harness.dialog import Dialog
from harness.dns_zones import answers, nsd_command, start_dns
from harness.own_network import resolve_at_loopback
from harness.postfix import running_postfix
from harness.processes import Reaper
from harness.server import RelevoFactory, RelevoServer
from harness.waiting import wait_for

HEAD = b"From: user@d1.test\r\nSubject: interop\r\nMessage-ID: <%d@d1.test>\r\n"
HEAD += b"Date: Tue, 24 Nov 2026 12:00:00 +0000\r\nMIME-Version: 1.0\r\n\r\n"
BODIES = (
    b"plain\r\n",
    "Grüße, 8 bit: ".encode() + bytes(range(0x80, 0x100)) + b"\r\n",
    b".\r\n..\r\n.dot\r\n\r\n.\r\n",
    b"x" * 998 + b"\r\n" + b"y" * 1500 + b"\r\n",
    b"\r\n\r\n trailing blanks \t\r\n\r\n",
    b"large: " + b"0123456789abcdef\xc3\xbc\r\n" * 20_000,
)


# without an end of the last line; only BDAT can carry it
UNFINISHED = b"two lines\r\n.the second has no end: \xc3\xbc"
BINARY = (
    bytes(range(256)) * 300,
    b"\0\0\r\r\n\n\r.\r\n.\n\0" * 5000 + b"\r",
    b"\n" + b"\0" * 70_000,
)


def log_in(client: Dialog, user: str) -> None:
    client.expect(250, "EHLO client.test")
    client.start_tls()
    client.expect(250, "EHLO client.test")
    assert client.log_in(user, "secret").code == 235


def send_bodies(client: Dialog, sender: str, recipients: Sequence[str]) -> None:
    """Each of BODIES to each recipient, with SMTPUTF8 and 8BITMIME."""
    for recipient in recipients:
        for number, body in enumerate(BODIES):
            client.expect(250, f"MAIL FROM:<{sender}> BODY=8BITMIME SMTPUTF8")
            client.expect(250, f"RCPT TO:<{recipient}>")
            assert client.message(HEAD % number + body).code == 250


def send_chunk(client: Dialog, recipient: str, body_type: str, message: bytes) -> None:
    """By BDAT."""
    client.expect(250, f"MAIL FROM:<user@d1.test> BODY={body_type}")
    client.expect(250, f"RCPT TO:<{recipient}>")
    client.send(b"BDAT %d LAST\r\n" % len(message) + message)
    assert client.reply().code == 250


def submit(server: RelevoServer, recipients: Sequence[str]) -> None:
    """Send each of BODIES to each recipient as a user, and UNFINISHED to the first."""
    with Dialog(server.submission) as client:
        log_in(client, "user@d1.test")
        send_bodies(client, "user@d1.test", recipients)
        send_chunk(client, recipients[0], "8BITMIME", HEAD % 99 + UNFINISHED)


def sender(
    reaper: Reaper,
    start_relevo: RelevoFactory,
    folder: Path,
    authority: Authority,
    port: int,
    *,
    binarymime: bool = False,
) -> RelevoServer:
    """A server that finds peer.test at 127.0.0.1 and trusts the authority."""
    zone = ("peer MX 10 mx.peer", "mx.peer A 127.0.0.1")
    resolver = start_dns(reaper, folder, {"test.": zone})
    return start_relevo(
        settings={
            "dns.servers": [str(resolver)],
            "outbound.port": port,
            "outbound.allow_addresses": ["127.0.0.0/8"],
            "outbound_tls.ca_file": str(authority.write(folder / "ca.pem")),
            "outbound_tls.verify": ["peer.test"],
            "smtp.binarymime": binarymime,
            "spf.check": False,
            "server.workers": 1,
        }
    )


def all_arrive(
    server: RelevoServer, arrived: Callable[[], list[bytes]], recipients: tuple[str, ...]
) -> None:
    """Send each of BODIES to each recipient and find each as it was."""
    submit(server, recipients)
    count = len(BODIES) * len(recipients) + 1
    wait_for(lambda: len(arrived()) >= count, timeout_s=60, what=f"{count} messages")
    for number, body in enumerate(BODIES):
        whole = HEAD % number + body
        assert sum(message.endswith(whole) for message in arrived()) == len(recipients), number
    # the peer ends the last line, as it must in its own store
    assert sum(each.endswith(HEAD % 99 + UNFINISHED + b"\r\n") for each in arrived()) == 1
    assert len(arrived()) == count


@pytest.mark.needs_debian("nsd", "postfix-server")
def test_to_postfix(reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path) -> None:
    authority = Authority()
    addresses = ("u@peer.test", "ü@peer.test")
    certificate = authority.issue("mx.peer.test")
    with running_postfix(reaper, tmp_path, addresses, certificate) as postfix:
        server = sender(reaper, start_relevo, tmp_path, authority, postfix.address.port)

        def arrived() -> list[bytes]:
            users = ("u", "ü")
            found = [each for user in users for each in postfix.messages("peer.test", user)]
            return [each.replace(b"\n", b"\r\n") for each in found]

        all_arrive(server, arrived, addresses)
        server.stop()  # so that Postfix tells of the connections
        wait_for(lambda: "starttls=1" in postfix.log.read_text(), what="a TLS connection")
        assert "bdat=" in postfix.log.read_text(), "BDAT, which Postfix offers"


@pytest.mark.needs_debian("nsd", "chasquid")
def test_to_chasquid(reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path) -> None:
    authority = Authority()
    config = chasquid_config(tmp_path / "chasquid")
    for folder in (config.path / "certs").iterdir():
        authority.issue("mx.peer.test").write(folder)
    chasquid_util(reaper, config, "user-add", "u@peer.test", "--password=secret")
    chasquid_util(reaper, config, "user-add", "ü@peer.test", "--password=secret")
    chasquid = ChasquidServer(reaper, config)
    server = sender(reaper, start_relevo, tmp_path, authority, chasquid.smtp.port)

    def arrived() -> list[bytes]:
        folder = config.path / "mda"
        count = sum(not path.name.startswith(".") for path in folder.iterdir())
        found = [message for _, message in recorded(config, count)]
        return [each.replace(b"\n", b"\r\n") for each in found]  # as this version writes them

    all_arrive(server, arrived, ("u@peer.test", "ü@peer.test"))
    assert all(b"ESMTPS" in each or b"UTF8SMTPS" in each for each in arrived())


RECIPIENTS = ("user@d1.test", "ü@d1.test")


def receiver(
    start_relevo: RelevoFactory, settings: Mapping[str, Setting] | None = None
) -> RelevoServer:
    """A server with mailboxes for RECIPIENTS."""
    domains = {"d1.test": Domain({"user": "secret", "ü": "secret"})}
    more = {"spf.check": False, "server.workers": 1, **(settings or {})}
    return start_relevo(domains=domains, settings=more)


def all_are_there(server: RelevoServer) -> None:
    """Each of BODIES in each mailbox, having come over TLS."""
    for recipient in RECIPIENTS:
        messages = server.config.mailbox(recipient).wait(len(BODIES), timeout_s=60)
        for number, body in enumerate(BODIES):
            whole = (HEAD % number + body).replace(b"\r\n", b"\n")
            (message,) = [each for each in messages if each.endswith(whole)]
            assert b"ESMTPS" in message or b"UTF8SMTPS" in message


@pytest.mark.needs_debian("postfix-server")
def test_from_postfix(reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path) -> None:
    server = receiver(start_relevo)
    settings = {
        "relayhost": f"[127.0.0.1]:{server.smtp.port}",
        "smtp_tls_security_level": "encrypt",
        "smtp_dns_support_level": "disabled",
        "smtp_line_length_limit": "0",  # it would fold longer lines
    }
    certificate = Authority().issue("postfix.test")
    with running_postfix(
        reaper, tmp_path, ["u@peer.test"], certificate, settings=settings
    ) as postfix:
        with Dialog(postfix.address) as client:
            client.expect(250, "EHLO client.test")
            send_bodies(client, "a@elsewhere.test", RECIPIENTS)
        all_are_there(server)
        assert "status=sent" in postfix.log.read_text()


@pytest.mark.own_network
@pytest.mark.needs_debian("nsd", "chasquid")
def test_from_chasquid(reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path) -> None:
    """It asks the system's resolver, and sends to port 25 only."""
    zone = ("d1 MX 10 mx.d1", "mx.d1 A 127.0.0.2")
    reaper.start(nsd_command(tmp_path / "nsd", 53, {"test.": zone}), log=tmp_path / "nsd.log")
    wait_for(lambda: answers(53), what="an answer of NSD")
    resolve_at_loopback(tmp_path)
    server = receiver(start_relevo, {"listen.smtp": ["127.0.0.2:25"]})
    config = chasquid_config(tmp_path / "chasquid", more={"hostname": "chasquid.test"})
    chasquid_util(reaper, config, "user-add", "user@elsewhere.test", "--password=secret")
    chasquid = ChasquidServer(reaper, config)
    with Dialog(chasquid.submission) as client:
        log_in(client, "user@elsewhere.test")
        send_bodies(client, "user@elsewhere.test", RECIPIENTS)
    all_are_there(server)


@pytest.mark.needs_debian("nsd")
def test_from_relevo_also_what_is_no_text(
    reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    """Two on one host. NULs, bare CR and LF and no last line end go by BDAT with BINARYMIME."""
    authority = Authority()
    config = relevo_config(
        tmp_path / "receiver",
        domains={"peer.test": Domain({"u": "secret"})},
        settings={"smtp.binarymime": True, "spf.check": False, "server.workers": 1},
    )
    authority.issue("mx.peer.test").write(config.chain.parent)
    peer = RelevoServer(reaper, config).start()
    server = sender(reaper, start_relevo, tmp_path, authority, peer.smtp.port, binarymime=True)
    text = (*BODIES, UNFINISHED)
    with Dialog(server.submission) as client:
        log_in(client, "user@d1.test")
        for number, body in enumerate(text):
            send_chunk(client, "u@peer.test", "8BITMIME", HEAD % number + body)
        for number, body in enumerate(BINARY, start=len(text)):
            send_chunk(client, "u@peer.test", "BINARYMIME", HEAD % number + body)
    found = config.mailbox("u@peer.test").wait(len(text) + len(BINARY), timeout_s=60)
    for number, body in enumerate((*text, *BINARY)):
        whole = (HEAD % number + body).replace(b"\r\n", b"\n")
        assert sum(message.endswith(whole) for message in found) == 1, number
    assert all(b"ESMTPS" in message for message in found)
