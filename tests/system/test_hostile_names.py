"""Names that want to leave their folder, break a log line or inject a command, over a socket."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.config_dir import Domain
from harness.dialog import ConnectionEnded, Reply
from harness.processes import reaping
from harness.server import RelevoFactory, RelevoServer
from harness.waiting import wait_for

# users that exist: their mail must arrive, below their own domain and nowhere else
REAL_USERS = (
    "..",
    "...",
    ".",
    ".hidden",
    "a/b",
    "/etc/passwd",
    "../../escape",
    "..%2f..%2fescape",
    "%2e%2e",
    "%00",
    "%",
    "%user%",
    "{user}",
    "{domain}",
    "$(touch pwned)",
    "`touch pwned`",
    ";touch pwned",
    "|touch pwned",
    "-rf",
    "--help",
    "new",
    "cur",
    "tmp",
    "con",
    "~root",
    "*",
    "a\\b",
    "a'b",
    'a"b',
    "a:2,s",
    "ñandú",
    "漢字",
    "x" * 200,
)
# local parts that no user of ours can have, and domains that are none
FALSE_PATHS = (
    "<\x00@d1.test>",
    "<user\x00@d1.test>",
    "<user\x1b[2J@d1.test>",
    "<us\ter@d1.test>",
    '<"us\x07er"@d1.test>',
    "<user\u202e@d1.test>",
    "<us\u200der@d1.test>",
    "<user@d1.test/..>",
    "<user@../../etc>",
    "<user@d1.test\x00.evil.test>",
    "<user@%2e%2e>",
    "<user@-d1.test>",
    "<user@d1..test>",
    "<user@.>",
    "<user@..>",
    "<user@d1.test\u2028>",
    "<user@d1\uff0ftest>",
    "<user@$(id).test>",
    "<user@`id`>",
    "<user@d1.test|id>",
    "<user@[127.0.0.1>",
    "<user@[IPv6:::::1]>",
    "<@evil.test:user@d1.test>",
    "<user%d1.test@>",
    "<user@xn--\u00f1.test>",
    "<user@" + "a" * 64 + ".test>",
    "<user@" + "a." * 130 + "test>",
    "<" + "x" * 300 + "@d1.test>",
    "<user@d1.test> <juan@d1.test>",
    "<user@d1.test",
    "<<user@d1.test>>",
    "<user@d1.test>>",
    "<\ufffe@d1.test>",
)
CONTROLS = {chr(n) for n in (*range(32), 127, *range(128, 160))} - {"\n"}


def test_there_are_enough_names() -> None:
    assert len(REAL_USERS) >= 30
    assert len(FALSE_PATHS) >= 30


@pytest.fixture(scope="module")
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RelevoServer]:
    users: dict[str, str | None] = dict.fromkeys(REAL_USERS, "secret")
    domains = {"d1.test": Domain({"user": "secret", **users})}
    with reaping(request) as reaper:
        start = RelevoFactory(reaper, tmp_path_factory.mktemp("hostile"))
        # names are taken as they stand: no suffixes, nothing dropped
        yield start(
            domains=domains,
            settings={"addresses.suffix_separators": "", "addresses.drop_characters": ""},
        )


def quoted(user: str) -> str:
    """A local part in RFC 5321's quoted form, which any name may take."""
    return '"' + user.replace("\\", "\\\\").replace('"', '\\"') + '"'


def files_below(folder: Path) -> set[Path]:
    """Files, without following links."""
    return {Path(root) / name for root, _, names in os.walk(folder) for name in names}


def holding(mark: str, folder: Path) -> list[Path]:
    """Files of new mail anywhere below `folder` that contain `mark`."""
    return [
        path
        for path in files_below(folder)
        if path.parent.name == "new" and mark.encode() in path.read_bytes()
    ]


def assert_logs_are_clean(server: RelevoServer) -> None:
    for text in (server.mail_log(), server.process.output()):
        assert not CONTROLS & set(text)
        assert "\ufffd" not in text, "octets that are no UTF-8 are escaped"


@pytest.mark.parametrize("user", REAL_USERS, ids=ascii)
def test_mail_to_an_odd_user_stays_in_the_folder_of_the_domain(
    server: RelevoServer, user: str
) -> None:
    top = server.config.path.parent
    mail = server.config.path / "mail" / "d1.test"
    before = files_below(top)
    mark = f"for-{user!a}"
    with server.dialog() as client:
        client.expect(250, "EHLO client.test")
        client.expect(250, "MAIL FROM:<a@r.test> SMTPUTF8")
        reply = client.command(f"RCPT TO:<{quoted(user)}@d1.test>")
        if any(c.isspace() for c in user) or user == "*":
            assert reply.code in {501, 550}, reply  # not PRECIS-valid, or the catch-all's name
            return
        assert reply.code == 250, reply
        assert client.message(f"Subject: {mark}\r\n\r\nx\r\n".encode()).code == 250
    [delivered] = wait_for(lambda: holding(mark, top), what="the message")
    mailbox = delivered.parent.parent
    assert mailbox.parent == mail
    assert mailbox.resolve() == mailbox
    assert not mailbox.name.startswith(".")
    outside = {path for path in files_below(top) - before if not path.is_relative_to(mail)}
    assert not {path for path in outside if "pwned" in path.name or "escape" in path.name}
    assert_logs_are_clean(server)


@pytest.mark.parametrize("path", FALSE_PATHS, ids=ascii)
@pytest.mark.parametrize("verb", ["MAIL FROM", "RCPT TO"])
def test_a_malformed_path_is_refused_and_the_session_goes_on(
    server: RelevoServer, verb: str, path: str
) -> None:
    with server.dialog() as client:
        client.expect(250, "EHLO client.test")
        if verb == "RCPT TO":
            client.expect(250, "MAIL FROM:<a@r.test> SMTPUTF8")
        parameters = " SMTPUTF8" if verb == "MAIL FROM" else ""
        reply = client.command(f"{verb}:{path}{parameters}")
        assert is_refusal(reply) or is_harmless_sender(verb, path, reply), reply
        assert not CONTROLS & set(reply.text), "the reply repeats control characters"
        try:
            client.expect(250, "NOOP")
        except ConnectionEnded:
            pytest.fail("the session ended")
    assert server.process.is_running()
    assert_logs_are_clean(server)


def is_refusal(reply: Reply) -> bool:
    return 500 <= reply.code < 600


def is_harmless_sender(verb: str, path: str, reply: Reply) -> bool:
    """Sender local parts are not ours to judge: RFC 6531 permits any UTF-8 text in them."""
    domain_is_fine = path.endswith("@d1.test>") and not CONTROLS & set(path)
    return verb == "MAIL FROM" and domain_is_fine and len(path) < 258 and reply.code == 250


@pytest.mark.parametrize(
    "name",
    [
        b"\xff\xfe",
        b"a\x00b",
        b"a\x1b]0;owned\x07b",
        b"evil.test)\tby good.test",
        b"[127.0.0.1",
        b"x" * 3000,
        "ñ\u202e.test".encode(),
        b"<script>alert(1)</script>",
    ],
    ids=repr,
)
def test_a_hostile_ehlo_name_never_reaches_header_or_log(server: RelevoServer, name: bytes) -> None:
    before = len(server.config.mailbox("user@d1.test").files())
    with server.dialog() as client:
        reply = client.command(b"EHLO " + name)
        if reply.code == 250:
            client.expect(250, "MAIL FROM:<a@r.test>")
            client.expect(250, "RCPT TO:<user@d1.test>")
            assert client.message(b"Subject: x\r\n\r\nx\r\n").code == 250
        else:
            assert 500 <= reply.code < 600, reply
    if reply.code == 250:
        message = server.config.mailbox("user@d1.test").wait(before + 1)[-1]
        trace = message.partition(b"\n\n")[0]
        assert not {c for c in trace if (c < 32 and c not in b"\n\t") or c >= 127}
        assert b"<script>" not in trace
    assert_logs_are_clean(server)
