"""A real Dovecot behind relevo: it proves logins, knows users, and keeps the mailboxes (LMTP)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.config_dir import Domain, Setting
from harness.dialog import Dialog
from harness.dovecot import Account, Dovecot, running_dovecot
from harness.processes import Reaper
from harness.server import RelevoFactory, RelevoServer, run_relevo
from harness.waiting import wait_for

pytestmark = pytest.mark.needs_debian("dovecot-lmtpd")

ACCOUNTS = {
    "ada@d1.test": Account("analytical"),
    "full@d1.test": Account("x", quota=10),
    "rx@d1.test": Account("from dovecot"),
    "user@d1.test": Account("from dovecot"),
}
# denied: may receive, never log in
DOMAINS = {"d1.test": Domain({"user": "from the file", "rx": None, "gone": "nobody at Dovecot"})}
MESSAGE = (
    "From: user@d1.test\r\nTo: ada@d1.test\r\nSubject: engines\r\n\r\n.dots\r\n\r\nñandú\r\n"
).encode()


@pytest.fixture
def dovecot(reaper: Reaper, tmp_path: Path) -> Iterator[Dovecot]:
    with running_dovecot(reaper, tmp_path / "dovecot.log", ACCOUNTS) as started:
        assert "Dovecot v2." in started.output()
        yield started


def settings(dovecot: Dovecot, **more: Setting) -> dict[str, Setting]:
    return {
        "auth.dovecot": True,
        "auth.dovecot_userdb_path": str(dovecot.userdb),
        "auth.dovecot_client_path": str(dovecot.client),
        "delivery.local": f"lmtp:{dovecot.lmtp}",
        **more,
    }


@pytest.fixture
def server(start_relevo: RelevoFactory, dovecot: Dovecot) -> RelevoServer:
    return start_relevo(domains=DOMAINS, settings=settings(dovecot))


def log_in(server: RelevoServer, user: str, password: str) -> int:
    with Dialog(server.submission) as dialog:
        dialog.expect(250, "EHLO client.test")
        dialog.start_tls()
        dialog.expect(250, "EHLO client.test")
        return dialog.log_in(user, password).code


def recipient(server: RelevoServer, address: str) -> str:
    """Code and enhanced code of the reply to RCPT."""
    with Dialog(server.smtp) as dialog:
        dialog.expect(250, "EHLO client.test")
        dialog.expect(250, "MAIL FROM:<user@d1.test>")
        return " ".join(str(dialog.command(f"RCPT TO:<{address}>")).split()[:2])


def send(server: RelevoServer, *recipients: str) -> None:
    with Dialog(server.smtp) as dialog:
        dialog.envelope("user@d1.test", *recipients)
        assert dialog.message(MESSAGE).code == 250


@pytest.mark.parametrize(
    ("user", "password", "code"),
    [
        pytest.param("ada@d1.test", "analytical", 235, id="known to Dovecot only"),
        pytest.param("ada@d1.test", "wrong", 535, id="wrong password"),
        pytest.param("nobody@d1.test", "x", 535, id="known to nobody"),
        pytest.param("user@d1.test", "from the file", 235, id="users file"),
        pytest.param("user@d1.test", "from dovecot", 235, id="other password at Dovecot"),
        pytest.param("rx@d1.test", "from dovecot", 535, id="denied by the users file"),
    ],
)
def test_logins(server: RelevoServer, user: str, password: str, code: int) -> None:
    assert log_in(server, user, password) == code


def test_who_exists(server: RelevoServer) -> None:
    assert recipient(server, "ada@d1.test") == "250 2.1.5"
    assert recipient(server, "A.da+tag@d1.test") == "250 2.1.5"
    assert recipient(server, "nobody@d1.test") == "550 5.1.1"


@pytest.mark.parametrize("over", ["unix", "tcp"])
def test_mail_arrives_by_lmtp(start_relevo: RelevoFactory, dovecot: Dovecot, over: str) -> None:
    place = str(dovecot.lmtp) if over == "unix" else f"127.0.0.1:{dovecot.port}"
    changed = settings(dovecot, **{"delivery.local": f"lmtp:{place}"})
    server = start_relevo(domains=DOMAINS, settings=changed)
    for _ in range(3):
        send(server, "ada@d1.test", "user@d1.test")
    for address in ("ada@d1.test", "user@d1.test"):
        for stored in dovecot.mailbox(address).wait(3):
            assert stored.replace(b"\n", b"\r\n").endswith(MESSAGE)
            assert stored.startswith(b"Return-Path: <user@d1.test>\n")
            assert b"with LMTP\n" in stored


@pytest.mark.parametrize(
    ("address", "status", "said"),
    [
        pytest.param("full@d1.test", "5.2.2", "Quota exceeded", id="over quota"),
        pytest.param("gone@d1.test", "5.1.1", "User doesn't exist", id="unknown to Dovecot"),
    ],
)
def test_one_of_two_recipients_fails_alone(
    server: RelevoServer, dovecot: Dovecot, address: str, status: str, said: str
) -> None:
    send(server, "ada@d1.test", address)
    dovecot.mailbox("ada@d1.test").wait(1)
    (dsn,) = dovecot.mailbox("user@d1.test").wait(1)
    assert f"Status: {status}\n".encode() in dsn
    assert b"Diagnostic-Code: smtp; 55" in dsn
    assert said.encode() in dsn
    assert f"Final-Recipient: rfc822; {address}".encode() in dsn
    assert b"Final-Recipient: rfc822; ada@d1.test" not in dsn


def test_all_waits_while_dovecot_is_down(server: RelevoServer, dovecot: Dovecot) -> None:
    dovecot.stop()
    assert log_in(server, "ada@d1.test", "analytical") == 454
    assert log_in(server, "user@d1.test", "from the file") == 235
    assert log_in(server, "rx@d1.test", "from dovecot") == 535
    assert recipient(server, "ada@d1.test") == "451 4.4.3"
    send(server, "user@d1.test")
    wait_for(lambda: "the mailbox server cannot be used" in server.mail_log())
    dovecot.start()
    wait_for(lambda: recipient(server, "ada@d1.test") == "250 2.1.5")
    assert log_in(server, "ada@d1.test", "analytical") == 235
    folder = server.config.path
    retry = run_relevo(
        server.reaper, "queue", "retry", "--all", "--config-dir", folder, folder=folder
    )
    assert retry.popen.returncode == 0, retry.output()
    (stored,) = dovecot.mailbox("user@d1.test").wait(1)
    assert stored.replace(b"\n", b"\r\n").endswith(MESSAGE)


def test_a_restart_of_dovecot_defers_nothing(server: RelevoServer, dovecot: Dovecot) -> None:
    """The connections that are kept die with it; new ones are made at once."""
    send(server, "ada@d1.test")
    dovecot.mailbox("ada@d1.test").wait(1)
    dovecot.stop()
    dovecot.start()
    send(server, "ada@d1.test")
    dovecot.mailbox("ada@d1.test").wait(2)
    assert "cannot be used" not in server.mail_log()
