"""Declared hooks at every stage of a session and of a delivery, as real programs over real SMTP."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from harness.dialog import Dialog, Reply
from harness.processes import Reaper
from harness.server import RelevoFactory, RelevoServer, run_relevo
from harness.waiting import wait_for

MESSAGE = b"Subject: s\r\n\r\nbody\r\n"
SESSION = ("connect", "ehlo", "auth", "mail", "rcpt", "post-data")
DELIVERY = ("route", "before-attempt", "delivered", "deferred", "failed", "dsn")

RECORDER = """\
import json, os, sys
context = json.load(os.fdopen(3))
with open(os.path.join({folder!r}, "told.jsonl"), "a") as log:
    log.write(json.dumps(context) + "\\n")
os.write(4, json.dumps({{"tags": ["at-" + context["stage"]]}}).encode())
"""


def program(folder: Path, name: str, text: str, interpreter: str = "/bin/sh") -> None:
    path = folder / name
    fresh = folder / f".{name}.new"
    fresh.write_text(f"#!{interpreter}\n{text}\n")
    fresh.chmod(0o755)
    fresh.rename(path)


def declared(*hooks: tuple[str, str], more: str = 'timeout = "5s"') -> str:
    return "".join(
        f'\n[[hook]]\nname = "{stage}"\nstage = "{stage}"\ntarget = "{target}"\n{more}\n'
        for stage, target in hooks
    )


def start(start_relevo: RelevoFactory, toml: str, **options: Any) -> RelevoServer:
    server = start_relevo(**options)
    path = server.config.path / "relevo.toml"
    path.write_text(path.read_text() + toml)
    after = len(server.process.output())
    server.reload()
    for _ in server.workers():
        server.wait_for_log("re-read", after=after)
    time.sleep(0.2)  # both workers
    return server


def send(server: RelevoServer, recipient: str = "user@d1.test") -> Reply:
    with Dialog(server.smtp, timeout_s=30) as dialog:
        dialog.envelope("a@r.test", recipient)
        return dialog.message(MESSAGE)


def message_id(reply: Reply) -> str:
    assert reply.code == 250, reply
    return reply.text.rpartition(" ")[2]


def rows(server: RelevoServer, what: str) -> list[dict[str, Any]]:
    """Rows of hooks, from `relevo trace --json`."""
    folder = server.config.path
    process = run_relevo(
        server.reaper, "trace", "--json", "--config-dir", folder, what, folder=folder
    )
    if process.popen.returncode:
        return []
    entries = json.loads(process.output())
    events = [event for entry in entries for event in entry["events"]]
    return [event for event in events if event["kind"] == "hook_verdict"]


def told(server: RelevoServer) -> list[dict[str, Any]]:
    path = server.config.path / "told.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_hooks_of_all_session_stages_and_the_tags_they_pass_on(
    start_relevo: RelevoFactory,
) -> None:
    server = start(start_relevo, declared(*((stage, "recorder") for stage in SESSION)))
    folder = server.config.path
    program(folder, "recorder", RECORDER.format(folder=str(folder)), sys.executable)
    with Dialog(server.submission, timeout_s=30) as dialog:
        dialog.expect(250, "EHLO first.test")
        dialog.start_tls()
        dialog.expect(250, "EHLO client.test")
        assert dialog.log_in("user@d1.test", "secret").code == 235
        dialog.expect(250, "MAIL FROM:<user@d1.test>")
        dialog.expect(250, "RCPT TO:<juan@d1.test>")
        reply = dialog.message(MESSAGE)
    contexts = told(server)
    assert [each["stage"] for each in contexts] == [
        "connect", "ehlo", "ehlo", "auth", "mail", "rcpt", "post-data"
    ]  # fmt: skip
    tags = ["at-connect", "at-ehlo", "at-auth", "at-mail", "at-rcpt"]
    assert [each["tags"] for each in contexts] == [
        [], tags[:1], tags[:1], tags[:2], tags[:3], tags[:4], tags
    ]  # fmt: skip
    assert contexts[3]["user"] == "user@d1.test"
    assert contexts[4]["auth"] == "user@d1.test"
    assert contexts[4]["tls"]["version"].startswith("TLS")
    wait_for(lambda: len(rows(server, message_id(reply))) == 6, what="the why record")
    assert {row["stage"] for row in rows(server, message_id(reply))} == set(SESSION)


@pytest.mark.parametrize(
    ("stage", "command", "expected"),
    [
        ("ehlo", "EHLO client.test", "550 no"),
        ("mail", "MAIL FROM:<a@r.test>", "550 5.7.1 no"),
        ("rcpt", "RCPT TO:<user@d1.test>", "550 5.7.1 no"),
    ],
)
def test_a_refusal_is_the_reply(
    start_relevo: RelevoFactory, stage: str, command: str, expected: str
) -> None:
    server = start(start_relevo, declared((stage, "judge")))
    program(server.config.path, "judge", """echo '{"verdict": "reject", "text": "no"}' >&4""")
    with Dialog(server.smtp, timeout_s=30) as dialog:
        for line in ("EHLO client.test", "MAIL FROM:<a@r.test>", "RCPT TO:<user@d1.test>"):
            reply = dialog.command(line)
            if line == command:
                break
            assert reply.code == 250
        assert str(reply) == expected
        assert dialog.command("NOOP").code == 250
    if stage != "ehlo":
        wait_for(lambda: rows(server, "a@r.test"), what="the row of the refusal")
        (row,) = rows(server, "a@r.test")
        assert (row["stage"], row["verdict"], row["reason"]) == (stage, "reject", expected)


def test_a_client_refused_at_connect_sees_the_refusal_as_greeting(
    start_relevo: RelevoFactory,
) -> None:
    server = start(start_relevo, declared(("connect", "judge")))
    program(server.config.path, "judge", """echo '{"verdict": "reject", "text": "no"}' >&4""")
    with Dialog(server.smtp, timeout_s=30) as dialog:
        assert str(dialog.greeting) == "554 5.7.1 no"
        assert dialog.rest() == b""


@pytest.mark.parametrize("stage", ["mail", "rcpt"])
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("trap '' TERM; sleep 60 & sleep 60", id="hangs"),
        pytest.param("kill -SEGV $$", id="crashes"),
        pytest.param("echo '{\"verdict\": ' >&4", id="garbage"),
        pytest.param("exit 7", id="exit-status"),
    ],
)
def test_a_hook_that_fails_is_451_for_its_session_only(
    start_relevo: RelevoFactory, stage: str, text: str
) -> None:
    """Another session, which the hook lets pass by its EHLO name, is not slowed down."""
    server = start(start_relevo, declared((stage, "judge"), more='timeout = "3s"'))
    program(server.config.path, "judge", f"grep -q bad.test <&3 || exit 0\n{text}")
    replies: list[Reply] = []

    def suffer() -> None:
        with Dialog(server.smtp, timeout_s=30) as dialog:
            dialog.expect(250, "EHLO bad.test")
            replies.append(dialog.command("MAIL FROM:<a@r.test>"))
            if stage == "rcpt":
                replies.append(dialog.command("RCPT TO:<user@d1.test>"))

    thread = threading.Thread(target=suffer)
    thread.start()
    began = time.monotonic()
    assert send(server).code == 250
    assert time.monotonic() - began < 2.5, "the other session waited for the hook that hangs"
    thread.join(20)
    assert [reply.code for reply in replies][-1] == 451, replies
    assert str(replies[-1]).startswith("451 4.7.1 Temporary policy failure")


def test_a_redirect_at_rcpt_and_a_sender_of_mail(start_relevo: RelevoFactory) -> None:
    server = start(start_relevo, declared(("mail", "at-mail"), ("rcpt", "at-rcpt")))
    program(server.config.path, "at-mail", """echo '{"sender": "list@d1.test"}' >&4""")
    program(server.config.path, "at-rcpt", """echo '{"redirect": ["juan@d1.test"]}' >&4""")
    assert send(server).code == 250
    (message,) = server.config.mailbox("juan@d1.test").wait(1)
    assert message.startswith(b"Return-Path: <list@d1.test>")
    assert server.config.mailbox("user@d1.test").messages() == []


def test_post_data_replaces_the_body_redirects_and_discards(start_relevo: RelevoFactory) -> None:
    server = start(start_relevo, declared(("post-data", "judge")))
    answer = {"body": "another\nbody\n", "redirect": ["juan@d1.test"]}
    program(server.config.path, "judge", f"cat >&4 <<'END'\n{json.dumps(answer)}\nEND")
    assert send(server).code == 250
    (message,) = server.config.mailbox("juan@d1.test").wait(1)
    assert message.endswith(b"Subject: s\n\nanother\nbody\n")
    program(server.config.path, "judge", """echo '{"verdict": "discard", "text": "spam"}' >&4""")
    reply = send(server)
    wait_for(lambda: rows(server, message_id(reply)), what="the row of what was discarded")
    (row,) = rows(server, message_id(reply))
    assert (row["verdict"], row["reason"]) == ("discard", "spam")
    assert server.status()["queue"]["messages"] == 0


def test_pipelined_commands_are_answered_in_order(start_relevo: RelevoFactory) -> None:
    server = start(start_relevo, declared(("mail", "judge"), ("rcpt", "judge")))
    program(
        server.config.path, "judge",
        """grep -q '"forward_path": *"juan' <&3 && echo '{"verdict": "reject"}' >&4; exit 0""",
    )  # fmt: skip
    with Dialog(server.smtp, timeout_s=30) as dialog:
        dialog.expect(250, "EHLO client.test")
        dialog.send(
            b"MAIL FROM:<a@r.test>\r\nRCPT TO:<juan@d1.test>\r\nRCPT TO:<user@d1.test>\r\nDATA\r\n"
        )
        assert [dialog.reply().code for _ in range(4)] == [250, 550, 250, 354]
        dialog.send(MESSAGE + b".\r\n")
        assert dialog.reply().code == 250
    server.config.mailbox("user@d1.test").wait(1)


@pytest.mark.parametrize("stage", ["connect", "rcpt", "deferred", "dsn"])
def test_hook_test_shows_each_stage_as_the_server_would_ask_it(
    reaper: Reaper, tmp_path: Path, stage: str
) -> None:
    (tmp_path / "relevo.toml").write_text('hostname = "mx.test"\n' + declared((stage, "judge")))
    answer = '{"verdict": "drop"}' if stage == "dsn" else '{"tags": ["seen"]}'
    program(tmp_path, "judge", f"echo '{answer}' >&4; echo shown >&2")
    process = run_relevo(
        reaper, "hook", "test", stage, "--json", "--config-dir", tmp_path, "--tag", "old",
        "--from", "a@r.test", "--client", "192.0.2.9:99", folder=tmp_path,
    )  # fmt: skip
    assert process.popen.returncode == 0, process.output()
    trial = json.loads(process.output())
    (call,) = trial["calls"]
    context = json.loads(call["context"])
    assert context["stage"] == stage
    assert context["tags"] == ["old"]
    assert call["stderr"] == "shown\n"
    assert call["verdict"] == ("drop" if stage == "dsn" else "accept - tags seen")
    if stage in SESSION:
        assert context["client"]["ip"] == "192.0.2.9"


def test_hooks_of_delivery_from_the_route_to_the_notification(start_relevo: RelevoFactory) -> None:
    """One message is delivered, one is given up by before-attempt, whose sender is told or not."""
    server = start(
        start_relevo, declared(("post-data", "tag"), *((s, "recorder") for s in DELIVERY))
    )
    folder = server.config.path
    program(folder, "tag", """echo '{"tags": ["kept"]}' >&4""")
    program(folder, "recorder", RECORDER.format(folder=str(folder)), sys.executable)
    reply = send(server)
    server.config.mailbox("user@d1.test").wait(1)
    wait_for(lambda: len(told(server)) >= 3, what="the outcome to be told")
    assert [each["stage"] for each in told(server)] == ["route", "before-attempt", "delivered"]
    assert {tuple(each["tags"])[:1] for each in told(server)} == {("kept",)}
    wait_for(lambda: len(rows(server, message_id(reply))) == 4, what="the why record")
    (folder / "told.jsonl").unlink()
    judge = 'import json, os\nstage = json.load(os.fdopen(3))["stage"]\n' + "".join(
        f'if stage == "{stage}": os.write(4, b\'{{"verdict": "{verdict}", "text": "by hook"}}\')\n'
        for stage, verdict in (("before-attempt", "reject"), ("dsn", "drop"))
    )
    program(folder, "recorder", judge, sys.executable)
    with Dialog(server.smtp, timeout_s=30) as dialog:
        dialog.envelope("juan@d1.test", "user@d1.test")
        reply = dialog.message(MESSAGE)
    wait_for(lambda: len(rows(server, message_id(reply))) == 5, what="the why record")
    found = {row["stage"]: row["verdict"] for row in rows(server, message_id(reply))}
    assert found == {
        "post-data": "accept", "route": "accept", "before-attempt": "reject", "failed": "accept",
        "dsn": "drop",
    }  # fmt: skip
    assert server.config.mailbox("juan@d1.test").messages() == []
    wait_for(lambda: server.status()["queue"]["messages"] == 0, what="the end of the message")


WORKER = """\
import json, os, signal, sys
for line in iter(sys.stdin.buffer.readline, b""):
    call = json.loads(line)
    sender = call["context"]["reverse_path"]
    if sender.startswith("crash"): os.kill(os.getpid(), signal.SIGSEGV)
    if sender.startswith("hang"): signal.pause()
    if sender.startswith("garbage"): print("{", flush=True)
    print(json.dumps({"id": call["id"], "answer": {"tags": ["worker"]}}), flush=True)
"""


def test_a_worker_that_fails_is_451_and_the_next_mail_finds_another(
    start_relevo: RelevoFactory,
) -> None:
    more = 'form = "worker"\nprocesses = 1\ntimeout = "1s"'
    server = start(start_relevo, declared(("mail", "worker"), more=more))
    program(server.config.path, "worker", WORKER, sys.executable)
    with Dialog(server.smtp, timeout_s=30) as dialog:
        dialog.expect(250, "EHLO client.test")
        for sender in ("fine", "crash", "fine", "garbage", "fine", "hang", "fine"):
            expected = 250 if sender == "fine" else 451
            assert dialog.command(f"MAIL FROM:<{sender}@r.test>").code == expected, sender
            dialog.expect(250, "RSET")
    assert send(server).code == 250
