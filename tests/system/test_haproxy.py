"""A real HAProxy in front: both versions of its header, in front of SMTP and of TLS."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.dialog import Dialog
from harness.haproxy import SOURCE, Behind, HaProxy, running_haproxy
from harness.processes import Reaper
from harness.server import RelevoFactory, RelevoServer
from harness.waiting import wait_for

pytestmark = pytest.mark.needs_debian("haproxy")

MESSAGE = b"From: user@d1.test\r\nSubject: by proxy\r\n\r\nx\r\n"


def everything(connection: socket.socket) -> bytes:
    """What the server says until it closes."""
    said = b""
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(4096):
            said += data
    return said


@pytest.fixture
def server(start_relevo: RelevoFactory) -> RelevoServer:
    return start_relevo(settings={"listen.haproxy": True, "proxy.trusted": [SOURCE]})


@pytest.fixture
def haproxy(reaper: Reaper, tmp_path: Path, server: RelevoServer) -> Iterator[HaProxy]:
    behind = {
        "smtp-v1": Behind(server.smtp, "send-proxy"),
        "smtp-v2": Behind(server.smtp, "send-proxy-v2 check inter 200ms"),
        "tls-v1": Behind(server.submission_tls, "send-proxy"),
        "tls-v2": Behind(server.submission_tls, "send-proxy-v2"),
    }
    with running_haproxy(reaper, tmp_path / "haproxy", behind) as started:
        yield started


@pytest.mark.parametrize("frontend", ["smtp-v1", "smtp-v2", "tls-v1", "tls-v2"])
def test_mail_by_a_proxy_is_the_clients(
    server: RelevoServer, haproxy: HaProxy, frontend: str
) -> None:
    is_tls = frontend.startswith("tls")
    with Dialog(haproxy.frontends[frontend], tls=is_tls) as dialog:
        client = f"127.0.0.1:{dialog.local_port}"
        if is_tls:
            dialog.expect(250, "EHLO client.test")
            assert dialog.log_in("user@d1.test", "secret").code == 235
        dialog.envelope("user@d1.test", "juan@d1.test")
        assert dialog.message(MESSAGE).code == 250
    (stored,) = server.config.mailbox("juan@d1.test").wait(1)
    assert SOURCE.encode() not in stored
    wait_for(lambda: client in server.mail_log(), what=f"{client} in the mail log")
    assert SOURCE not in server.mail_log()


def test_a_clients_starttls_passes_the_proxy(haproxy: HaProxy) -> None:
    with Dialog(haproxy.frontends["smtp-v2"]) as dialog:
        dialog.expect(250, "EHLO client.test")
        dialog.start_tls()
        dialog.expect(250, "EHLO client.test")


def test_health_checks_of_the_proxy_succeed(haproxy: HaProxy) -> None:
    wait_for(lambda: haproxy.check_results()["smtp-v2"] == "L4OK", what="a good health check")


def test_who_is_no_proxy_gets_no_word(server: RelevoServer, haproxy: HaProxy) -> None:
    with socket.create_connection(server.smtp, timeout=10) as stranger:
        assert everything(stranger) == b""
    server.wait_for_log("it is none of proxy.trusted")
    with Dialog(haproxy.frontends["smtp-v1"]) as dialog:
        dialog.expect(250, "EHLO client.test")
