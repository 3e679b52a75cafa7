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
from harness.scripted_smtp import Line, Scripted, scripted
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
