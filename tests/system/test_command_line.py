"""Commands beside a running server: what they change takes effect, what they show is true."""

from __future__ import annotations

import json
import re
import smtplib
from pathlib import Path

import pytest

from harness.certificates import client_context
from harness.processes import Reaper
from harness.server import RelevoFactory, RelevoServer, run_relevo
from harness.waiting import wait_for

MAIL = "Subject: hello\r\n\r\nBody.\r\n"
FAR = "far@elsewhere.test"


class Commands:
    """`relevo …` on the config directory of a server."""

    def __init__(self, reaper: Reaper, server: RelevoServer, folder: Path) -> None:
        self._reaper = reaper
        self._path = server.config.path
        self._folder = folder

    def __call__(self, *words: str, code: int | None = 0, stdin: str | None = None) -> str:
        """What it printed; it must end with `code` (None: with any)."""
        process = run_relevo(
            self._reaper, *words, "-C", self._path, folder=self._folder, stdin=stdin
        )
        assert code in {None, process.popen.returncode}, process.output()
        assert "Traceback" not in process.output()
        return process.output()

    def queue(self) -> list[str]:
        return [entry["id"] for entry in json.loads(self("queue", "list", "--json"))]


@pytest.fixture
def server(start_relevo: RelevoFactory) -> RelevoServer:
    return start_relevo(settings={"reload.interval": "1h"})


@pytest.fixture
def relevo(reaper: Reaper, server: RelevoServer, tmp_path: Path) -> Commands:
    folder = tmp_path / "commands"
    folder.mkdir()
    return Commands(reaper, server, folder)


def submit(
    server: RelevoServer, recipient: str, *, user: str = "user@d1.test", password: str = "secret"
) -> str:
    """Send a message with a login; its id."""
    host, port = server.submission_tls
    with smtplib.SMTP_SSL(host, port, context=client_context()) as client:
        client.login(user, password)
        client.mail(user)
        client.rcpt(recipient)
        _, reply = client.data(MAIL)
    found = re.search(rb"\b[0-9a-z]{20}\b", reply)
    assert found, reply
    return found[0].decode()


def test_a_new_user_logs_in_after_a_reload(server: RelevoServer, relevo: Commands) -> None:
    relevo("user", "add", "ada@d9.test", "--password-stdin", stdin="s3cret\n")
    relevo("reload")

    def logs_in() -> bool:
        try:
            submit(server, "ada@d9.test", user="ada@d9.test", password="s3cret")
        except smtplib.SMTPException:
            return False
        return True

    wait_for(logs_in, what="the login of the new user")
    server.config.mailbox("ada@d9.test").wait()


def test_a_refused_reload_says_why(server: RelevoServer, relevo: Commands) -> None:
    server.config.write_aliases("d1.test", "broken\n")
    assert "domains/d1.test/aliases:1: " in relevo("reload", code=3)
    submit(server, "user@d1.test")


def test_retry_is_tried_at_once(server: RelevoServer, relevo: Commands) -> None:
    identity = submit(server, FAR)

    def attempts() -> int:
        events = json.loads(relevo("trace", identity, "--json"))[0]["events"]
        return sum(event["kind"] == "attempted" for event in events)

    wait_for(lambda: attempts() == 1, what="the first attempt")
    relevo("queue", "retry", identity)
    wait_for(lambda: attempts() == 2, what="the second attempt")


def test_a_dropped_message_is_gone_and_stays_gone(server: RelevoServer, relevo: Commands) -> None:
    dropped, kept = submit(server, FAR), submit(server, FAR)
    assert relevo.queue() == [dropped, kept]
    relevo("queue", "drop", dropped, "--yes")
    relevo("queue", "retry", "--all")
    wait_for(lambda: relevo.queue() == [kept], what="the queue without it")
    assert "OPERATOR" in relevo("trace", dropped)


def test_a_refusal_can_be_traced(server: RelevoServer, relevo: Commands) -> None:
    with smtplib.SMTP(*server.smtp) as client:
        client.ehlo()
        client.mail("stranger@example.org")
        assert client.rcpt("nobody@d1.test")[0] == 550

    wait_for(
        lambda: "REJECTED" in relevo("trace", "nobody@d1.test", code=None),
        what="the refusal in the history",
    )


def test_status_counts_what_happened(server: RelevoServer, relevo: Commands) -> None:
    submit(server, "user@d1.test")
    server.config.mailbox("user@d1.test").wait()
    status = json.loads(relevo("status", "--json"))
    assert status["pid"] == server.process.pid
    assert status["listeners"]["smtp"] == [f"{server.smtp[0]}:{server.smtp[1]}"]
    assert len(status["workers"]) == 2
    assert status["counters"]["accepted"] == 1
    assert status["counters"]["logins"] == 1


def test_status_after_the_end_is_4(server: RelevoServer, relevo: Commands) -> None:
    server.stop()
    assert "no server is running" in relevo("status", code=4)
    assert "no server is running" in relevo("reload", code=4)
