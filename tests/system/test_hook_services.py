"""Hooks that are services, with real ones: rspamd and OpenDKIM as milters, postgrey as policy."""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.config_dir import STANDARD_DOMAINS, relevo_config
from harness.daemons import free_port, start_daemon, start_rspamd
from harness.debian import program
from harness.dialog import Dialog, Reply
from harness.key_records import KeyRecords
from harness.processes import Reaper, reaping
from harness.server import RelevoFactory, RelevoServer
from harness.waiting import wait_for
from relevo.mailauth.dkim import verify_message
from relevo.mailauth.dkim.private_key import KeyKind, key_record, make_private_key, private_key_pem

GTUBE = "JS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
HEAD = (
    b"Date: Tue, 24 Nov 2026 07:39:31 +0000\r\nFrom: ada@r.test\r\nTo: user@d1.test\r\n"
    b"Message-ID: <1@r.test>\r\nSubject: hello\r\n\r\n"
)


@pytest.fixture(scope="module")
def services(request: pytest.FixtureRequest) -> Iterator[Reaper]:
    with reaping(request) as made:
        yield made


@pytest.fixture(scope="module")
def rspamd(services: Reaper, tmp_path_factory: pytest.TempPathFactory) -> int:
    return start_rspamd(services, tmp_path_factory.mktemp("rspamd"), is_milter=True)


def started(factory: RelevoFactory, form: str, stage: str, port: int) -> RelevoServer:
    config = relevo_config(factory.folder / "relevo", domains=STANDARD_DOMAINS)
    path = config.path / "relevo.toml"
    path.write_text(
        f'{path.read_text()}\n[[hook]]\nname = "peer"\nform = "{form}"\nstage = "{stage}"\n'
        f'target = "127.0.0.1:{port}"\n'
    )
    return RelevoServer(factory.reaper, config).start()


def send(server: RelevoServer, *bodies: str) -> Reply:
    """Messages on one connection; the last reply."""
    with Dialog(server.smtp, timeout_s=30) as dialog:
        dialog.command("EHLO mail.r.test")
        for body in bodies:
            dialog.command("MAIL FROM:<ada@r.test>")
            reply = dialog.command("RCPT TO:<user@d1.test>")
            if reply.code == 250:
                dialog.command("DATA")
                dialog.send(HEAD + body.encode() + b"\r\n.\r\n")
                reply = dialog.reply()
            if reply.code != 250:
                break
        return reply


@pytest.mark.needs_debian("rspamd")
def test_rspamd_refuses_marks_and_rewrites(start_relevo: RelevoFactory, rspamd: int) -> None:
    server = started(start_relevo, "milter", "post-data", rspamd)
    refused = send(server, f"X{GTUBE}")
    assert (refused.code, "Gtube pattern" in refused.text) == (554, True)
    bodies = ("an ordinary line", f"Y{GTUBE}", f"Z{GTUBE}", "line\r\n" * 50_000)
    assert send(server, *bodies).code == 250
    mailbox = server.config.mailbox("user@d1.test")
    messages = mailbox.wait(4)
    assert sum(b"X-Spam: Yes" in each for each in messages) == 1
    assert sum(b"Subject: *** SPAM *** hello" in each for each in messages) == 1


@pytest.mark.needs_debian("opendkim")
def test_opendkim_signs_as_a_milter(
    start_relevo: RelevoFactory, services: Reaper, tmp_path: Path
) -> None:
    key, port = make_private_key(KeyKind.RSA_2048), free_port()
    file, settings = tmp_path / "key.pem", tmp_path / "opendkim.conf"
    file.write_bytes(private_key_pem(key))
    file.chmod(0o600)
    settings.write_text("RequireSafeKeys false\nInternalHosts 0.0.0.0/0\n")
    command = [
        str(program("opendkim")), "-x", str(settings), "-f", "-b", "s", "-d", "r.test", "-s", "s1",
        "-k", str(file), "-p", f"inet:{port}@127.0.0.1", "-c", "relaxed/simple",
        "-P", str(tmp_path / "pid"),
    ]  # fmt: skip
    start_daemon(services, command, port, tmp_path)
    server = started(start_relevo, "milter", "post-data", port)
    assert send(server, *["a line to sign"] * 3).code == 250
    records = KeyRecords({"s1._domainkey.r.test": key_record(key).encode()})
    for stored in server.config.mailbox("user@d1.test").wait(3):
        message = stored.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        (result,) = asyncio.run(verify_message(message, records, now=time.time()))
        assert result.is_pass, result.reason


@pytest.mark.needs_debian("postgrey")
def test_postgrey_greylists(start_relevo: RelevoFactory, services: Reaper, tmp_path: Path) -> None:
    port, user = free_port(), pwd.getpwuid(os.geteuid()).pw_name
    group = grp.getgrgid(os.getegid()).gr_name
    command = [
        str(program("postgrey")), f"--inet=127.0.0.1:{port}", f"--dbdir={tmp_path}", "--delay=2",
        f"--user={user}", f"--group={group}", f"--pidfile={tmp_path}/pid",
    ]  # fmt: skip
    start_daemon(services, command, port, tmp_path)
    server = started(start_relevo, "policy", "rcpt", port)
    first = send(server, "hello")
    assert (first.code, first.text.startswith("4.2.0 Greylisted")) == (451, True), first
    wait_for(lambda: send(server, "hello").code == 250, timeout_s=15, what="the end of the delay")
    (message,) = server.config.mailbox("user@d1.test").wait()
    assert message.startswith((b"X-Greylist: delayed", b"Return-Path")), message[:200]
