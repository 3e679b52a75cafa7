"""Ready-made hooks, added by `relevo hook add`, with the servers that they are for."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import asyncpg
import pytest

from harness.config_dir import STANDARD_DOMAINS, relevo_config
from harness.daemons import free_port, start_daemon, start_rspamd
from harness.debian import UNPACKED, program
from harness.dialog import Dialog, Reply
from harness.processes import Process, Reaper
from harness.server import RELEVO, RelevoFactory, RelevoServer

GTUBE = "JS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
HEAD = (
    b"Date: Tue, 24 Nov 2026 07:39:31 +0000\r\nFrom: ada@r.test\r\nTo: user@d1.test\r\n"
    b"Message-ID: <1@r.test>\r\nSubject: hello\r\nX-Spam: No\r\n\r\n"
)


def started(factory: RelevoFactory, hook: str, settings: Mapping[str, str]) -> RelevoServer:
    """A server with the hook; `settings`: what is written anew of what was added."""
    config = relevo_config(factory.folder / "relevo", domains=STANDARD_DOMAINS)
    command = [str(RELEVO), "hook", "add", "-C", str(config.path), hook]
    log = factory.folder / "add.log"
    assert factory.reaper.start(command, log=log).wait(20) == 0, log.read_text()
    path = config.path / "relevo.toml"
    text = path.read_text()
    for old, new in settings.items():
        assert text.count(old) == 1, text
        text = text.replace(old, new)
    path.write_text(text)
    return RelevoServer(factory.reaper, config).start()


def send(server: RelevoServer, body: str = "hello", to: str = "user@d1.test") -> Reply:
    with Dialog(server.smtp, timeout_s=30) as dialog:
        dialog.command("EHLO mail.r.test")
        dialog.command("MAIL FROM:<ada@r.test>")
        reply = dialog.command(f"RCPT TO:<{to}>")
        if reply.code == 250:
            dialog.command("DATA")
            dialog.send(HEAD + body.encode() + b"\r\n.\r\n")
            reply = dialog.reply()
        return reply


@pytest.mark.needs_debian("rspamd")
def test_rspamd_over_http(start_relevo: RelevoFactory, reaper: Reaper, tmp_path: Path) -> None:
    port = start_rspamd(reaper, tmp_path, is_milter=False)
    server = started(start_relevo, "rspamd", {"127.0.0.1:11333": f"127.0.0.1:{port}"})
    refused = send(server, f"X{GTUBE}")
    assert (refused.code, "Gtube pattern" in refused.text) == (554, True), refused
    for body in ("an ordinary line", f"Y{GTUBE}", f"Z{GTUBE}"):
        assert send(server, body).code == 250
    messages = server.config.mailbox("user@d1.test").wait(3)
    assert all(b"X-Spam-Score: " in each for each in messages)
    assert not any(b"X-Spam: No" in each for each in messages)
    assert sum(b"X-Spam: Yes" in each for each in messages) == 2
    assert sum(b"Subject: *** SPAM *** hello" in each for each in messages) == 1


@pytest.mark.needs_debian("clamav-daemon")
def test_clamd(start_relevo: RelevoFactory, reaper: Reaper, tmp_path: Path) -> None:
    word = "a-word-that-only-this-virus-has"
    (folder := tmp_path / "signatures").mkdir()
    (folder / "own.ndb").write_text(f"Relevo.Test.Word:0:*:{word.encode().hex()}\n")
    socket, settings = tmp_path / "clamd.sock", tmp_path / "clamd.conf"
    settings.write_text(
        f"LocalSocket {socket}\nDatabaseDirectory {folder}\nForeground yes\n"
        f"TemporaryDirectory {tmp_path}\n"
    )
    start_daemon(reaper, [str(program("clamd")), "-c", str(settings)], socket, tmp_path)
    server = started(start_relevo, "clamav", {"unix:/run/clamav/clamd.ctl": f"unix:{socket}"})
    refused = send(server, f"take this: {word}")
    assert str(refused).startswith("554 5.7.1 The message has a virus (Relevo.Test.Word"), refused
    assert send(server).code == 250
    (message,) = server.config.mailbox("user@d1.test").wait()
    assert b"X-Virus-Scanned: ClamAV" in message


@contextmanager
def folder_for_others() -> Iterator[Path]:
    """pytest's own are closed to the users whom some servers become."""
    folder = Path(tempfile.mkdtemp(prefix="relevo-test-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.mark.needs_debian("spamd")
def test_spamd(start_relevo: RelevoFactory, reaper: Reaper, tmp_path: Path) -> None:
    port = free_port()
    with folder_for_others() as rules:
        (rules / "init.pre").write_text("loadplugin Mail::SpamAssassin::Plugin::Check\n")
        (rules / "own.cf").write_text(
            "body OWN_SPAM /buy-this/\nscore OWN_SPAM 6\nbody OWN_WORST /worst-of-all/\n"
            "score OWN_WORST 12\nuse_bayes 0\nutil_rb_tld test\n"
        )
        command = [
            str(program("spamd")), "-L", "-x", "-m", "1", "-i", "127.0.0.1", "-p", str(port),
            "-C", str(rules), "--siteconfigpath", str(rules), "-s", "stderr", "-r",
            str(tmp_path / "pid"),
        ]  # fmt: skip
        spamd = start_daemon(reaper, command, port, tmp_path)
        server = started(start_relevo, "spamassassin", {"127.0.0.1:783": f"127.0.0.1:{port}"})
        assert send(server, "worst-of-all").code == 554
        assert send(server, "please buy-this now").code == 250
        spamd.stop()
    assert send(server, "worst-of-all").code == 250, "on_error is accept"
    first, second = server.config.mailbox("user@d1.test").wait(2)
    assert b"X-Spam: Yes" in first
    assert b"X-Spam-Status: Yes, score=6 required=5 tests=OWN_SPAM" in first
    assert b"X-Spam: No" not in first
    assert b"X-Spam-Status" not in second


def test_greylisting_holds_over_processes_and_restarts(start_relevo: RelevoFactory) -> None:
    server = started(start_relevo, "greylist", {"delay = 300.0": "delay = 1.0"})
    first = send(server)
    assert (first.code, first.text.startswith("4.7.1 Greylisted")) == (451, True), first
    assert send(server).code == 451  # at once
    server.stop()
    with closing(sqlite3.connect(server.config.data / "greylist.db")) as store, store:
        store.execute("UPDATE triplet SET since = since - 2, seen = seen - 2")
    server.start()
    for _ in range(4):  # by one worker or the other
        assert send(server).code == 250
    assert send(server, to="juan@d1.test").code == 451


def test_aliases_in_sqlite(start_relevo: RelevoFactory) -> None:
    server = started(start_relevo, "sql-aliases", {})
    path = server.config.path / "aliases.db"
    assert send(server, to="info@d1.test").code == 451  # there is no database yet
    with closing(sqlite3.connect(path)) as store, store:
        store.execute("CREATE TABLE aliases (address TEXT, target TEXT)")
        store.execute("INSERT INTO aliases VALUES ('info@d1.test', 'user@d1.test')")
    assert send(server, to="other@d1.test").code == 550
    assert send(server, to="info@d1.test").code == 250
    server.config.mailbox("user@d1.test").wait()


SLAPD = """
include {root}/etc/ldap/schema/core.schema
include {root}/etc/ldap/schema/cosine.schema
include {root}/etc/ldap/schema/misc.schema
modulepath {root}/usr/lib/ldap
moduleload back_ldif
pidfile {folder}/pid
database ldif
suffix "dc=d1,dc=test"
directory {folder}/entries
rootdn "cn=relevo,dc=d1,dc=test"
rootpw a-secret
access to * by * none
"""
ENTRIES = """\
dn: dc=d1,dc=test
objectClass: domain
dc: d1

dn: cn=info,dc=d1,dc=test
objectClass: nisMailAlias
cn: info
rfc822MailMember: user@d1.test
rfc822MailMember: juan@d1.test
"""


@pytest.mark.needs_debian("slapd")
def test_aliases_in_ldap(start_relevo: RelevoFactory, reaper: Reaper, tmp_path: Path) -> None:
    root = Path("/")
    if program("slapd").parent == UNPACKED:
        root = UNPACKED.parent / "root" / "slapd"
    port, settings, entries = free_port(), tmp_path / "slapd.conf", tmp_path / "entries.ldif"
    (tmp_path / "entries").mkdir()
    settings.write_text(SLAPD.format(root=root, folder=tmp_path))
    entries.write_text(ENTRIES)
    words = [str(program("slapd")), "-T", "add", "-f", str(settings), "-l", str(entries)]
    assert reaper.start(words, log=tmp_path / "add-entries.log").wait(20) == 0
    command = [
        str(program("slapd")), "-h", f"ldap://127.0.0.1:{port}", "-f", str(settings), "-d", "0",
    ]  # fmt: skip
    slapd = start_daemon(reaper, command, port, tmp_path)
    server = started(
        start_relevo,
        "ldap-aliases",
        {
            "ldap://127.0.0.1:389": f"ldap://127.0.0.1:{port}",
            'dc=example,dc=org"\nfilter': 'dc=d1,dc=test"\nfilter',
            "(mail={address})": "(&(objectClass=nisMailAlias)(cn={user}))",
            "mailForwardingAddress": "rfc822MailMember",
            '# name = "cn=relevo,dc=example,dc=org"': 'name = "cn=relevo,dc=d1,dc=test"',
            "# password_file": "password_file",
        },
    )
    (server.config.path / "ldap.password").write_text("a-secret\n")
    assert send(server, to="info@d1.test").code == 250
    server.config.mailbox("user@d1.test").wait()
    server.config.mailbox("juan@d1.test").wait()
    assert send(server, to="*@d1.test").code == 550
    slapd.stop()
    assert send(server, to="sales@d1.test").code == 451, "no directory is not: no such user"


@contextmanager
def postgres(reaper: Reaper, port: int, logs: Path) -> Iterator[Process]:
    """An empty database of the user relevo, who needs the password `a-secret`."""
    as_user: list[str] = []
    with folder_for_others() as folder:
        if os.geteuid() == 0:  # it does not run as root
            as_user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
            shutil.chown(folder, "nobody", "nogroup")
        (folder / "password").write_text("a-secret\n")
        data, log = folder / "data", logs / "initdb.log"
        make = [
            *as_user, str(program("initdb")), "-D", str(data), "-U", "relevo", "-A",
            "scram-sha-256", "--pwfile", str(folder / "password"), "--no-sync", "--locale=C",
            "-E", "UTF8",
        ]  # fmt: skip
        serve = [
            *as_user, str(program("postgres")), "-D", str(data), "-p", str(port), "-k", "",
            "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "shared_buffers=1MB",
        ]  # fmt: skip
        assert reaper.start(make, log=log, cwd=folder).wait(60) == 0, log.read_text()
        process = start_daemon(reaper, serve, port, logs, says="ready to accept connections")
        yield process
        process.send(signal.SIGINT)  # without waiting for those who are connected
        process.wait()


async def fill(port: int) -> None:
    database = await asyncpg.connect(
        f"postgresql://relevo@127.0.0.1:{port}/postgres", password="a-secret"
    )
    await database.execute("CREATE TABLE aliases (address TEXT, target TEXT)")
    rows = [("info@d1.test", "user@d1.test"), ("info@d1.test", "juan@d1.test")]
    await database.executemany("INSERT INTO aliases VALUES ($1, $2)", rows)
    await database.close()


@pytest.mark.needs_debian("postgresql-15")
def test_aliases_in_postgresql(start_relevo: RelevoFactory, reaper: Reaper, tmp_path: Path) -> None:
    port = free_port()
    with postgres(reaper, port, tmp_path):
        asyncio.run(fill(port))
        server = started(
            start_relevo,
            "sql-aliases",
            {
                '"sqlite:aliases.db" ': f'"postgresql://relevo@127.0.0.1:{port}/postgres" ',
                "# password_file": "password_file",
            },
        )
        (server.config.path / "database.password").write_text("a-secret\n")
        assert send(server, to="info@d1.test").code == 250
        server.config.mailbox("user@d1.test").wait()
        server.config.mailbox("juan@d1.test").wait()
        assert send(server, to="o'ther@d1.test").code == 550
    assert send(server, to="sales@d1.test").code == 451, "no database is not: no such user"
