"""A real client that sends XCLIENT is taken at its word where it is listed, and only there."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.debian import program
from harness.server import RelevoFactory, RelevoServer
from harness.waiting import wait_for

pytestmark = pytest.mark.needs_debian("swaks")

CLIENT = "198.51.100.9"


def send(server: RelevoServer, folder: Path) -> int:
    """Exit status of swaks, which says that it speaks for CLIENT."""
    words = ["--server", server.smtp.host, "--port", str(server.smtp.port), "--timeout", "15"]
    words += ["--from", "a@b.test", "--to", "juan@d1.test", "--helo", "client.test"]
    words += ["--xclient-addr", CLIENT, "--xclient-port", "4711", "--xclient-name", "c.test"]
    words += ["--xclient-helo", "c.test", "--xclient-proto", "ESMTP"]
    process = server.reaper.start([program("swaks"), *words], log=folder / "swaks", cwd=folder)
    status = process.wait(30)
    print(process.output())
    return status


def test_mail_by_xclient_is_the_named_clients(start_relevo: RelevoFactory, tmp_path: Path) -> None:
    server = start_relevo(settings={"xclient.trusted": ["127.0.0.1"], "spf.check": False})
    assert send(server, tmp_path) == 0
    (stored,) = server.config.mailbox("juan@d1.test").wait(1)
    assert CLIENT.encode() in stored
    wait_for(lambda: f"{CLIENT}:4711" in server.mail_log(), what="the client in the mail log")


def test_a_stranger_has_no_xclient(start_relevo: RelevoFactory, tmp_path: Path) -> None:
    server = start_relevo(settings={"xclient.trusted": ["192.0.2.1"], "spf.check": False})
    assert send(server, tmp_path) != 0
    assert CLIENT not in server.mail_log()
    assert not server.config.mailbox("juan@d1.test").messages()
