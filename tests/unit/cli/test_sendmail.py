"""`relevo sendmail`: options, what becomes of the input, and the queue without a server."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from harness.config_dir import ConfigDir
from relevo.cli import main, sendmail_ways
from relevo.cli.sendmail_message import (
    TooLarge,
    Writer,
    completed,
    header_recipients,
    read_message,
)
from relevo.cli.sendmail_options import Options, WrongUsage, parse
from relevo.mail import InvalidAddress
from relevo.queue import open_reader
from relevo.queue.store import Summary
from unit.cli.invoking import Run
from unit.cli.servers import fake_server

MESSAGE = "To: Bob <bob@example.net>\nBcc: eve@example.net\nSubject: hi\n\nHello\n.\nlost\n"
WRITER = Writer("ada@d1.test", "Ada L.", "ada", 1000)


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("bob@x.test", Options(recipients=("bob@x.test",))),
        ("-t -i", Options(reads_recipients=True, ignores_dots=True)),
        ("-ti", Options(reads_recipients=True, ignores_dots=True)),
        ("-oi -oem -t", Options(reads_recipients=True, ignores_dots=True)),
        ("-fada@x.test bob", Options(recipients=("bob",), sender="ada@x.test")),
        ("-f ada@x.test -- -bob", Options(recipients=("-bob",), sender="ada@x.test")),
        ("-r <> bob", Options(recipients=("bob",), sender="")),
        ("-f <ada@x.test> a,b", Options(recipients=("a", "b"), sender="ada@x.test")),
        ("-FAda -bm -v -h 3 -Am bob", Options(recipients=("bob",), full_name="Ada")),
        (
            "-N success,failure -R hdrs -V id1 -B 8BITMIME bob",
            Options(("bob",), notify=("SUCCESS", "FAILURE"), ret="HDRS", envid="id1",
                    body="8BITMIME"),
        ),
        ("-bi", Options(does_nothing=True)),
        ("-q15m", Options(does_nothing=True)),
        ("-bp", Options(lists_queue=True)),
    ],
)  # fmt: skip
def test_options_as_programs_write_them(words: str, options: Options) -> None:
    assert parse(words.split()) == options


@pytest.mark.parametrize(
    "words", ["-bs", "-Z", "-f", "-R some", "-N never,delay", "-N maybe", "-B BINARY", "-f @x"]
)
def test_options_that_cannot_be_followed_are_refused(words: str) -> None:
    with pytest.raises(WrongUsage):
        parse(words.split())


@pytest.mark.parametrize(
    ("text", "ignores_dots", "message"),
    [
        (b"A: b\n\nx\n", False, b"A: b\r\n\r\nx\r\n"),
        (b"A: b\r\n\r\nx", False, b"A: b\r\n\r\nx\r\n"),
        (b"A: b\n\nx\n.\ny\n", False, b"A: b\r\n\r\nx\r\n"),
        (b"A: b\n\nx\n.\ny\n", True, b"A: b\r\n\r\nx\r\n.\r\ny\r\n"),
        (b"A: b\n\n..x\n", False, b"A: b\r\n\r\n..x\r\n"),
        (b".\n", False, b"\r\n"),
        (b"no header here\n", False, b"\r\nno header here\r\n"),
        (b"\nbody\n", False, b"\r\nbody\r\n"),
        (b"", False, b"\r\n"),
        (b"A: b\rC: d\r\n\r\n", True, b"A: b\r\nC: d\r\n\r\n"),
    ],
)
def test_input_becomes_a_message(text: bytes, ignores_dots: bool, message: bytes) -> None:
    assert read_message(io.BytesIO(text), limit=100, ignores_dots=ignores_dots) == message


def test_too_much_is_refused() -> None:
    with pytest.raises(TooLarge):
        read_message(io.BytesIO(b"x" * 101), limit=100, ignores_dots=True)


def test_recipients_of_the_header_are_found_in_every_field() -> None:
    head = b"To: Bob <bob@x.test>,\r\n\tc@x.test\r\nCc: d@x.test\r\nBcc: e@x.test\r\n"
    message = head + b"\r\nTo: no@x.test\r\n"
    assert header_recipients(message) == ["bob@x.test", "c@x.test", "d@x.test", "e@x.test"]


def test_what_is_missing_is_added_and_bcc_goes() -> None:
    message = completed(
        b"Bcc: e@x.test\r\nSubject: x\r\n\r\nbody\r\n", WRITER, message_id="id1", hostname="h.test",
        now=1.8e9,
    )  # fmt: skip
    assert b'From: "Ada L." <ada@d1.test>\r\n' in message
    assert b"Message-ID: <id1@h.test>\r\n" in message
    assert b"Date: " in message
    assert b"Bcc" not in message
    assert message.endswith(b"\r\n\r\nbody\r\n")


@pytest.fixture
def may_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sendmail_ways, "may_write_queue", lambda _config: True)


def queued(site: ConfigDir) -> list[Summary]:
    with open_reader(site.data) as reader:
        return list(reader.messages())


@pytest.mark.usefixtures("may_write")
def test_without_a_server_the_message_waits_in_the_queue(run: Run, site: ConfigDir) -> None:
    site.write_aliases("d1.test", "ali: user, out@r.test\n")
    outcome = run("sendmail", "-t", "-f", "juan@d1.test", "ali@d1.test", stdin=MESSAGE)
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    [message] = queued(site)
    assert message.envelope.reverse_path == "juan@d1.test"
    recipients = {route: [one.target for one in them] for route, _, _, them in message.units}
    assert recipients == {
        "local": ["user@d1.test"],
        "mx:r.test": ["out@r.test"],
        "mx:example.net": ["bob@example.net", "eve@example.net"],
    }
    with open_reader(site.data) as reader:
        content = reader.content(message.id)
        assert content is not None
        data = content.first(10_000)
        [event, *_] = reader.trace(message.id).events
    assert data.startswith(b"Received: by mx.test (relevo, from user id ")
    assert b"eve@" not in data
    assert data.endswith(b"\r\nHello\r\n")
    assert "bob@example.net" in str(event)


@pytest.mark.usefixtures("may_write")
def test_a_running_server_is_woken(run: Run, site: ConfigDir) -> None:
    with fake_server(site, lambda _: {}) as asked:
        assert run("sendmail", "bob@example.net", stdin="x\n").code == 0
    assert asked == ["wake"]


@pytest.mark.usefixtures("may_write")
@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((), os.EX_USAGE),
        (("-bs",), os.EX_USAGE),
        (("nobody@d1.test",), os.EX_NOUSER),
        (("a@b@c d",), os.EX_NOUSER),
        (("--set", "nonsense=1", "bob@example.net"), os.EX_CONFIG),
        (("--set", "smtp.max_message_size=1KiB", "bob@example.net"), os.EX_DATAERR),
        (("-bi",), os.EX_OK),
    ],
)
def test_exit_codes_are_those_of_sysexits(
    run: Run, site: ConfigDir, words: tuple[str, ...], code: int
) -> None:
    outcome = run("sendmail", *words, stdin="Subject: x\n\n" + "x" * 2000)
    assert outcome.code == code
    assert outcome.err.startswith("sendmail: ") is (code != os.EX_OK)
    assert not (site.data / "queue.db").exists()


def test_who_may_not_write_the_queue_speaks_smtp_and_is_told_to_try_later(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sendmail_ways, "may_write_queue", lambda _config: False)
    outcome = run("sendmail", "--set", "listen.smtp=127.0.0.1:1", "bob@example.net", stdin="x\n")
    assert outcome.code == os.EX_TEMPFAIL
    assert "127.0.0.1:1" in outcome.err


@pytest.mark.parametrize(("name", "words"), [("sendmail", ["-t"]), ("mailq", [])])
def test_it_is_called_by_its_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, words: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(sys, "argv", [f"/usr/sbin/{name}", *words])
    monkeypatch.setenv("RELEVO_CONFIG_DIR", str(tmp_path / "none"))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == os.EX_CONFIG
    assert capsys.readouterr().err.startswith("sendmail: ")


@pytest.mark.parametrize(
    "words", [["-f", "a\r\nBcc: b@x.test, c@x.test"], ["-V", "1\r\nDATA"], ["-V", "a b"]]
)
def test_a_value_cannot_begin_a_new_line(words: list[str]) -> None:
    with pytest.raises(WrongUsage):
        parse(words)
    with pytest.raises(InvalidAddress):
        sendmail_ways.parsed_recipients(["a\r\nRCPT@x.test"], "x.test")
