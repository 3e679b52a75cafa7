"""Nothing that a client says can start a line of a log, colour it, or stand in it unescaped."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from harness.dialog import ConnectionEnded, Dialog
from harness.processes import reaping
from harness.server import RelevoFactory, RelevoServer, run_relevo

FORGED = "2026-01-01 00:00:00.000 INFO relevo: FORGED"
PAYLOADS = (
    f"x\r\n{FORGED}",
    f"x\n{FORGED}",
    f"x\r{FORGED}",
    f"x\u2028{FORGED}",
    f"x\x85{FORGED}",
    f"x\x0b{FORGED}",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x9b31m",
    "a\x08\x08\x08b",
    "%s%s%s%n%d%(message)s",
    "{0}{x.__class__}",
    "${jndi:ldap://other.test/x}",
    "<script>alert(1)</script>",
    "\u202eevil",
    "\ufeff",
    "x" * 400,
    '"; DROP TABLE history; --',
    '{"event": "forged"}',
    "\udcff".encode("utf-8", "surrogatepass").decode("latin-1"),
)
CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufffd]")


@pytest.fixture(scope="module")
def servers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, RelevoServer]]:
    """One a format of the mail log."""
    with reaping(request) as reaper:
        start = RelevoFactory(reaper, tmp_path_factory.mktemp("injection"))
        yield {
            form: start(name=form, settings={
                "mail_log.format": form, "limits.errors": 1000, "auth.failure_delay": "1ms",
            })
            for form in ("chasquid", "json", "plain")
        }  # fmt: skip


def say_everywhere(server: RelevoServer, payload: bytes) -> None:
    """In every place where a client's words may get into a log."""
    say(
        lambda: Dialog(server.smtp),
        b"EHLO " + payload,
        b"EHLO fine.test",
        payload,
        b"MAIL FROM:<" + payload + b"@r.test> SMTPUTF8",
        b'MAIL FROM:<"' + payload + b'"@r.test> SMTPUTF8',
        b"MAIL FROM:<a@" + payload + b">",
        b"MAIL FROM:<a@r.test> ENVID=" + payload,
        b"RSET",
        b"MAIL FROM:<a@r.test> SMTPUTF8",
        b"RCPT TO:<" + payload + b"@d1.test>",
        b'RCPT TO:<"' + payload + b'"@d1.test>',
        b"RCPT TO:<user@" + payload + b">",
        b"RCPT TO:<user@d1.test> ORCPT=rfc822;" + payload,
    )
    say(
        lambda: Dialog(server.submission_tls, tls=True),
        b"AUTH " + payload,
        b"AUTH PLAIN " + base64.b64encode(b"\0" + payload[:200] + b"\0" + payload[:200]),
        b"AUTH PLAIN " + base64.b64encode(b"\0" + payload[:200] + b"@d1.test\0x"),
        b"AUTH LOGIN " + base64.b64encode(payload[:200]),
    )


def say(connect: Callable[[], Dialog], *lines: bytes) -> None:
    """One after the other; on a new connection where the server ends one, as at bare line ends."""
    left = list(lines)
    while left:
        with suppress(ConnectionEnded, ConnectionError), connect() as client:
            client.expect(250, "EHLO before.test")
            if left[0].startswith(b"RCPT"):
                client.expect(250, "MAIL FROM:<b@r.test> SMTPUTF8")
            while left:
                client.command(left.pop(0))


def assert_clean(server: RelevoServer) -> None:
    own = server.process.output()
    for text in (own, server.mail_log()):
        found = CONTROLS.search(text)
        assert found is None, ascii(text[max(0, found.start() - 100) : found.end() + 100])
        assert not [line for line in text.splitlines() if line.startswith(FORGED)]
    for line in own.splitlines():
        assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", line), ascii(line)
    assert "Traceback" not in own


@pytest.mark.parametrize("payload", PAYLOADS, ids=ascii)
def test_a_clients_words_stay_within_their_place(
    servers: dict[str, RelevoServer], payload: str
) -> None:
    server = servers["chasquid"]
    say_everywhere(server, payload.encode())
    assert_clean(server)


@pytest.mark.parametrize("form", ["json", "plain"])
def test_so_they_do_in_the_other_formats(servers: dict[str, RelevoServer], form: str) -> None:
    server = servers[form]
    for payload in (PAYLOADS[1], PAYLOADS[3], PAYLOADS[6], PAYLOADS[18]):
        say_everywhere(server, payload.encode())
    assert_clean(server)
    if form == "json":
        for line in server.mail_log().splitlines():
            assert isinstance(json.loads(line), dict)


def test_the_history_on_a_terminal_is_clean_as_well(
    servers: dict[str, RelevoServer], request: pytest.FixtureRequest
) -> None:
    server = servers["chasquid"]
    folder: Path = server.config.path
    with server.dialog() as client:
        client.expect(250, "EHLO x")
        client.expect(250, "MAIL FROM:<a@r.test> SMTPUTF8")
        client.command('RCPT TO:<"\x1b[31mred"@d1.test>')
        client.command("RCPT TO:<\u202evil@d1.test>")
    for arguments in (("trace", "a@r.test"), ("status",), ("queue", "list")):
        shown = run_relevo(server.reaper, *arguments, "-C", folder, folder=folder).output()
        assert not CONTROLS.search(shown), ascii(shown)
