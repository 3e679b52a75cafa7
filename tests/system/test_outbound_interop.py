"""Mail over verified TLS to Postfix and to chasquid arrives octet by octet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.authority import Authority
from harness.chasquid import ChasquidServer, chasquid_config, chasquid_util, recorded
from harness.dialog import Dialog
from harness.dns_zones import start_dns
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


def submit(server: RelevoServer, recipients: tuple[str, ...]) -> None:
    """Send each of BODIES to each recipient as a user, with SMTPUTF8 and 8BITMIME."""
    with Dialog(server.submission) as client:
        client.expect(250, "EHLO client.test")
        client.start_tls()
        client.expect(250, "EHLO client.test")
        assert client.log_in("user@d1.test", "secret").code == 235
        for recipient in recipients:
            for number, body in enumerate(BODIES):
                client.expect(250, "MAIL FROM:<user@d1.test> BODY=8BITMIME SMTPUTF8")
                client.expect(250, f"RCPT TO:<{recipient}>")
                assert client.message(HEAD % number + body).code == 250


def sender(
    reaper: Reaper,
    start_relevo: RelevoFactory,
    folder: Path,
    authority: Authority,
    port: int,
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
            "spf.check": False,
            "server.workers": 1,
        }
    )


def all_arrive(
    server: RelevoServer, arrived: Callable[[], list[bytes]], recipients: tuple[str, ...]
) -> None:
    """Send each of BODIES to each recipient and find each as it was."""
    submit(server, recipients)
    count = len(BODIES) * len(recipients)
    wait_for(lambda: len(arrived()) >= count, timeout_s=60, what=f"{count} messages")
    for number, body in enumerate(BODIES):
        whole = HEAD % number + body
        assert sum(message.endswith(whole) for message in arrived()) == len(recipients), number
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


@pytest.mark.needs_debian("postfix-server")
def test_from_postfix(reaper: Reaper, start_relevo: RelevoFactory, tmp_path: Path) -> None:
    server = start_relevo(settings={"spf.check": False, "server.workers": 1})
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
            for number, body in enumerate(BODIES):
                client.expect(250, "MAIL FROM:<a@elsewhere.test> BODY=8BITMIME")
                client.expect(250, "RCPT TO:<user@d1.test>")
                assert client.message(HEAD % number + body).code == 250
        messages = server.config.mailbox("user@d1.test").wait(len(BODIES), timeout_s=60)
        assert "status=sent" in postfix.log.read_text()
    for number, body in enumerate(BODIES):
        whole = (HEAD % number + body).replace(b"\r\n", b"\n")
        (message,) = [each for each in messages if each.endswith(whole)]
        assert b"ESMTPS" in message
