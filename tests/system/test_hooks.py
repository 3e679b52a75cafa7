"""Hooks in a running server: what commits with a message, the why record, processes, reload."""

from __future__ import annotations

import json
import os
import pwd
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.dialog import ConnectionEnded, Dialog, Reply
from harness.maildir import Mailbox
from harness.processes import children
from harness.server import RelevoFactory, RelevoServer, run_relevo
from harness.waiting import wait_for

MESSAGE = b"Subject: s\r\n\r\nbody\r\n"
BELIEVED_S = 0.03  # the server believes for 20 ms that a stage has no hook

V2 = """
[[hook]]
name = "judge"
target = "judge"
timeout = "5s"
"""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(f"#!/bin/sh\n{text}\n")
    fresh.chmod(0o755)
    fresh.rename(path)
    time.sleep(BELIEVED_S)


def hook(server: RelevoServer, name: str, text: str) -> None:
    write(server.config.path / "hooks" / name, text)


def declare(server: RelevoServer, toml: str) -> None:
    """Add declared hooks and let the server read them."""
    path = server.config.path / "relevo.toml"
    path.write_text(path.read_text() + toml)
    after = len(server.process.output())
    server.reload()
    for _ in server.workers():
        server.wait_for_log("re-read", after=after)
    time.sleep(0.2)  # both workers


def send(server: RelevoServer, *recipients: str, sender: str = "a@r.test") -> Reply:
    with Dialog(server.smtp, timeout_s=30) as dialog:
        dialog.command("EHLO client.test")
        assert dialog.command(f"MAIL FROM:<{sender}>").code == 250
        for recipient in recipients or ("user@d1.test",):
            assert dialog.command(f"RCPT TO:<{recipient}>").code == 250
        assert dialog.command("DATA").code == 354
        dialog.send(MESSAGE + b".\r\n")
        return dialog.reply()


def message_id(reply: Reply) -> str:
    assert reply.code == 250, reply
    return reply.text.rpartition(" ")[2]


def delivered(server: RelevoServer, address: str, count: int = 1) -> list[bytes]:
    return server.config.mailbox(address).wait(count)


def trace(server: RelevoServer, what: str) -> list[dict[str, Any]]:
    """Events of one message, or of an address, from `relevo trace --json`."""
    folder = server.config.path
    process = run_relevo(
        server.reaper, "trace", "--json", "--config-dir", folder, what, folder=folder
    )
    if process.popen.returncode:
        return []
    return [event for entry in json.loads(process.output()) for event in entry["events"]]


def verdicts(server: RelevoServer, what: str, count: int = 1) -> list[dict[str, Any]]:
    def found() -> list[dict[str, Any]]:
        return [event for event in trace(server, what) if event["kind"] == "hook_verdict"]

    wait_for(lambda: len(found()) >= count, what=f"{count} verdicts about {what}")
    return found()


def test_everything_that_a_v2_hook_asks_for_commits_with_the_message(
    start_relevo: RelevoFactory,
) -> None:
    server = start_relevo()
    declare(server, V2)
    answer = {
        "add_headers": [{"name": "X-Judge", "value": "fine"}],
        "replace_headers": [{"name": "Subject", "value": "[judged] s"}],
        "add_recipients": ["juan@d1.test"],
        "remove_recipients": ["user@d1.test"],
        "sender": "other@r.test",
        "tags": ["seen"],
    }
    write(server.config.path / "judge", f"cat >&4 <<'END'\n{json.dumps(answer)}\nEND")
    reply = send(server)
    (message,) = delivered(server, "juan@d1.test")
    assert b"X-Judge: fine" in message
    assert b"Subject: [judged] s" in message
    assert message.count(b"Subject:") == 1
    assert message.startswith(b"Return-Path: <other@r.test>")
    assert server.config.mailbox("user@d1.test").messages() == []
    (verdict,) = verdicts(server, message_id(reply))
    assert verdict["hook"] == "judge"
    assert verdict["stage"] == "post-data"
    assert verdict["verdict"] == "accept"
    assert "adds X-Judge; replaces Subject; adds recipients juan@d1.test" in verdict["change"]
    assert "tags seen" in verdict["change"]
    assert len(verdict["version"]) == 12
    assert verdict["seconds"] > 0


def test_message_without_recipients_left_goes_nowhere(start_relevo: RelevoFactory) -> None:
    server = start_relevo()
    declare(server, V2)
    write(server.config.path / "judge", 'echo \'{"remove_recipients": ["user@d1.test"]}\' >&4')
    reply = send(server)
    verdicts(server, message_id(reply))
    assert server.status()["queue"]["messages"] == 0
    assert server.config.mailbox("user@d1.test").messages() == []


def test_refusal_and_its_stderr_are_in_the_history(start_relevo: RelevoFactory) -> None:
    server = start_relevo()
    hook(server, "post-data", "echo 'not this one'; echo 'score 9' >&2; exit 20")
    reply = send(server)
    assert str(reply) == "554 5.7.1 not this one"
    wait_for(lambda: trace(server, "user@d1.test"), what="the history of the refusal")
    rejected = [event for event in trace(server, "user@d1.test") if event["kind"] == "rejected"]
    (verdict,) = verdicts(server, rejected[0]["message_id"])
    assert verdict["verdict"] == "reject"
    assert verdict["reason"] == "554 5.7.1 not this one"
    assert verdict["stderr"] == "score 9"
    assert rejected[0]["reason"] == "not this one"


def test_status_shows_calls_outcomes_and_times(start_relevo: RelevoFactory) -> None:
    server = start_relevo()
    hook(server, "post-data", "exit 0")
    for _ in range(3):
        send(server)
    hook(server, "post-data", "exit 1")
    send(server)
    (figures,) = server.status()["hooks"]
    assert figures["hook"] == "hooks/post-data"
    assert (figures["calls"], figures["accepted"], figures["tempfailed"]) == (4, 3, 1)
    assert 0 < figures["p50_ms"] <= figures["longest_ms"]


def test_large_message_goes_through_the_hook_with_its_header_changed(
    start_relevo: RelevoFactory,
) -> None:
    server = start_relevo()
    hook(server, "post-data", "printf 'X-Size: %s\\n' $(wc -c)")
    body = b"x" * 998 + b"\r\n"
    with Dialog(server.smtp, timeout_s=30) as dialog:
        dialog.command("EHLO client.test")
        dialog.command("MAIL FROM:<a@r.test>")
        dialog.command("RCPT TO:<user@d1.test>")
        dialog.command("DATA")
        dialog.send(MESSAGE + body * 3000 + b".\r\n")
        assert dialog.reply().code == 250
    (message,) = delivered(server, "user@d1.test")
    size = int(message.partition(b"X-Size: ")[2].split()[0])
    assert size > 3000 * 999
    assert message.endswith(b"x" * 998 + b"\n")


def host_of(server: RelevoServer) -> int:
    return int(server.status()["hook_host"]["pid"])


def test_host_that_dies_is_replaced(start_relevo: RelevoFactory) -> None:
    server = start_relevo()
    hook(server, "post-data", "exit 0")
    assert send(server).code == 250
    host = host_of(server)
    os.kill(host, signal.SIGKILL)
    wait_for(lambda: host_of(server) not in {0, host}, what="another host")
    assert send(server).code == 250
    assert server.status()["hook_host"]["restarts"] == 1


def test_call_that_loses_its_host_is_451_and_nothing_is_left(start_relevo: RelevoFactory) -> None:
    server = start_relevo()
    started = server.config.path / "started"
    hook(server, "post-data", f"echo $$ > {started}.new\nmv {started}.new {started}\nsleep 600")
    replies: list[Reply] = []
    thread = threading.Thread(target=lambda: replies.append(send(server)))
    thread.start()
    wait_for(started.exists, what="the start of the hook")
    process = int(started.read_text())
    os.kill(host_of(server), signal.SIGKILL)
    thread.join(20)
    assert [reply.code for reply in replies] == [451]
    wait_for(lambda: not Path(f"/proc/{process}").exists(), what="the end of the hook")


def test_supervisor_that_dies_takes_hooks_with_it(start_relevo: RelevoFactory) -> None:
    server = start_relevo()
    started = server.config.path / "started"
    hook(server, "post-data", f"touch {started}\nsleep 600 & sleep 600")
    thread = threading.Thread(target=lambda: try_to_send(server), daemon=True)
    thread.start()
    wait_for(started.exists, what="the start of the hook")
    tree = [*descendants(server.process.pid)]
    server.process.send(signal.SIGKILL)
    server.process.wait()
    wait_for(lambda: not [pid for pid in tree if is_alive(pid)], what="the end of all")
    thread.join(20)


def try_to_send(server: RelevoServer) -> None:
    try:
        send(server)
    except Exception:
        return


def descendants(root: int) -> Iterator[int]:
    for child in children(root):
        yield child
        yield from descendants(child)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_nothing_runs_after_the_end_of_the_server(start_relevo: RelevoFactory) -> None:
    server = start_relevo(settings={"server.grace": "500ms"})
    hook(server, "post-data", "setsid sleep 600 & exit 0")
    assert send(server).code == 250
    tree = [*descendants(server.process.pid)]
    assert server.stop() == 0
    assert [pid for pid in tree if is_alive(pid)] == []


def test_cap_holds_over_all_workers(start_relevo: RelevoFactory) -> None:
    server = start_relevo(settings={"hooks.max_concurrent": 2, "hooks.slot_timeout": "400ms"})
    log = server.config.path / "log"
    hook(server, "post-data", f"echo x >> {log}\nsleep 2")
    replies: list[Reply] = []
    threads = [threading.Thread(target=lambda: replies.append(send(server))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(reply.code for reply in replies) == [250] * 2 + [451] * 6
    assert log.read_text() == "x\n" * 2


def test_reload_changes_limits_and_declared_hooks(start_relevo: RelevoFactory) -> None:
    server = start_relevo()
    hook(server, "post-data", "printf 'X-Files: %s\\n' $(ulimit -n)")
    send(server)
    assert b"X-Files: 1024" in delivered(server, "user@d1.test")[0]
    write(server.config.path / "judge", 'echo \'{"verdict": "reject", "text": "judged"}\' >&4')
    declare(server, f"\n[hooks]\nopen_files = 99\n{V2}")
    assert str(send(server)) == "554 5.7.1 judged"
    declare(server, '\n[[hook]]\ntarget = "no-such"\non_error = "accept"\n')
    write(server.config.path / "judge", "exit 0")
    send(server)
    messages = delivered(server, "user@d1.test", 2)
    assert any(b"X-Files: 99" in message for message in messages)


def test_dictionary_attack_is_no_fork_storm(start_relevo: RelevoFactory) -> None:
    """The same names from many sessions cost one call each, the catch-all one for all."""
    server = start_relevo(
        settings={
            "hooks.negative_ttl": "60s",
            "server.workers": 1,
            "limits.rejected_recipients": 99,
        }
    )
    asked = server.config.path / "asked"
    hook(server, "alias-resolve", f'echo "$1" >> {asked}')
    for _ in range(3):
        with Dialog(server.smtp) as dialog:
            dialog.command("EHLO attacker.test")
            dialog.command("MAIL FROM:<a@r.test>")
            for name in range(5):
                assert dialog.command(f"RCPT TO:<n{name}@d1.test>").code == 550
    names = asked.read_text().split()
    assert sorted(names) == sorted({*(f"n{name}@d1.test" for name in range(5)), "*@d1.test"})


def test_run_as_another_user(start_relevo: RelevoFactory) -> None:
    """Where the server is root; else the hook fails with the reason in the log."""
    server = start_relevo()
    declare(server, V2 + 'run_as = "nobody"\n')
    for path in (server.config.path, *server.config.path.parents):
        if path.stat().st_uid == os.geteuid() and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o111)
    answer = json.dumps({"add_headers": [{"name": "X-User", "value": "USER"}]})
    write(server.config.path / "judge", f"echo '{answer}' | sed s/USER/$(id -un)/ >&4")
    reply = send(server)
    if os.geteuid() not in {0, pwd.getpwnam("nobody").pw_uid}:
        assert reply.code == 451
        return
    assert reply.code == 250
    assert b"X-User: nobody" in delivered(server, "user@d1.test")[0]


def test_one_transaction_asks_about_an_address_once_even_without_a_cache(
    start_relevo: RelevoFactory,
) -> None:
    server = start_relevo(settings={"hooks.cache_ttl": "0s", "hooks.negative_ttl": "0s"})
    asked = server.config.path / "asked"
    hook(server, "alias-resolve", f'echo "$1" >> {asked}; case "$1" in new@*) echo user;; esac')
    assert send(server, "new@d1.test").code == 250
    assert asked.read_text().split() == ["new@d1.test", "user@d1.test"]
    assert send(server, "new@d1.test").code == 250
    assert asked.read_text().split() == ["new@d1.test", "user@d1.test"] * 2


def test_what_a_hook_asked_for_happens_once_also_when_workers_are_killed(
    start_relevo: RelevoFactory,
) -> None:
    """Every message that was answered 250 is there once for both recipients, with one mark."""
    server = start_relevo(settings={"queue.min_free_space": 0.0})
    declare(server, V2)
    answer = json.dumps(
        {
            "add_headers": [{"name": "X-Judge", "value": "MESSAGE"}],
            "add_recipients": ["juan@d1.test"],
        }
    )
    write(server.config.path / "judge", f"echo '{answer}' >&4")
    accepted: list[str] = []
    for number in range(40):
        if number % 5 == 4:
            os.kill(min(server.workers() - {0}), signal.SIGKILL)
        try:
            reply = send(server)
        except (OSError, ConnectionEnded):
            continue
        if reply.code == 250:
            accepted.append(message_id(reply))
    assert len(accepted) >= 20
    for address in ("user@d1.test", "juan@d1.test"):
        messages = wait_for_all(server.config.mailbox(address), accepted)
        for identity in accepted:
            found = id_in(messages, identity)
            assert len(found) == 1, (address, identity)
            assert found[0].count(b"X-Judge: MESSAGE") == 1


def wait_for_all(mailbox: Mailbox, identities: list[str]) -> list[bytes]:
    def has_all() -> bool:
        messages = mailbox.messages()
        return all(id_in(messages, identity) for identity in identities)

    wait_for(has_all, timeout_s=30, what="every message that was accepted")
    return mailbox.messages()


def id_in(messages: list[bytes], identity: str) -> list[bytes]:
    return [message for message in messages if f" id {identity}".encode() in message]
