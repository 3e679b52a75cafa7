"""What hooks asked for survives a kill with its message: exactly once, or not at all.

Hooks of the forms worker, python and exec stand one behind the other; some messages are put into
quarantine by the second, so that the third is asked when they are released, which is killed too.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import closing

import apsw
import pytest

from fault.form import FORM
from harness.dialog import ConnectionEnded, Dialog
from harness.server import RelevoFactory, RelevoServer, run_relevo
from harness.waiting import wait_for
from relevo.queue import MessageFilter, open_reader

SENDERS = 4
A_QUARTER = 4  # of the messages go into quarantine
TOML = """
[[hook]]
stage = "rcpt"
form = "worker"
target = "marker"
[[hook]]
stage = "post-data"
form = "worker"
target = "marker"
[[hook]]
stage = "post-data"
form = "python"
target = "judge.py"
[[hook]]
stage = "post-data"
target = "last"
timeout = "30s"
"""
MARKER = f"""#!{sys.executable}
import json, sys
for line in iter(sys.stdin.buffer.readline, b""):
    call = json.loads(line)
    sys.stdin.buffer.read(call["size"])
    answer = {{"tags": ["seen-at-" + call["context"]["stage"]]}}
    if call["context"]["stage"] == "post-data":
        answer["add_headers"] = [{{"name": "X-Marker", "value": "once"}}]
        answer["add_recipients"] = ["juan@d1.test"]
    print(json.dumps({{"id": call["id"], "answer": answer}}), flush=True)
"""
JUDGE = """
async def post_data(message, context):
    odd = b"Subject: odd" in message.octets
    return {
        "verdict": "quarantine" if odd else "accept",
        "text": "odd" if odd else "",
        "add_headers": [{"name": "X-Judge", "value": " ".join(context.tags)}],
        "tags": ["judged"],
    }
"""
LAST = """#!/bin/sh
read -r context <&3
case "$context" in *'"judged"'*) tags=judged;; *) tags=none;; esac
printf '{"add_headers": [{"name": "X-Last", "value": "%s"}]}' "$tags" >&4
"""
EFFECTS = (
    b"\nX-Marker: once\n",
    b"\nX-Judge: seen-at-rcpt seen-at-post-data\n",
    b"X-Last: judged\n",
)
HOOKS = {
    ("rcpt", "marker"),
    ("post-data", "marker"),
    ("post-data", "judge.py"),
    ("post-data", "last"),
}


@pytest.fixture
def server(start_relevo: RelevoFactory) -> RelevoServer:
    """Stopped."""
    server = start_relevo()
    for name, text in {"marker": MARKER, "judge.py": JUDGE, "last": LAST}.items():
        program = server.config.path / name
        program.write_text(text)
        program.chmod(0o755)
    settings = server.config.path / "relevo.toml"
    settings.write_text(settings.read_text() + TOML)
    server.stop()
    return server


def send_until_cut(server: RelevoServer, run: str, answered: list[str]) -> None:
    number = 0
    try:
        with Dialog(server.smtp, timeout_s=20) as dialog:
            dialog.envelope("a@r.test", "user@d1.test")
            while True:
                number += 1
                name = f"{'odd' if number % A_QUARTER == 0 else 'fine'}-{run}-{number}"
                if dialog.message(f"Subject: {name}\r\n\r\nx\r\n".encode()).code == 250:
                    answered.append(name)
                dialog.expect(250, "MAIL FROM:<a@r.test>")
                dialog.expect(250, "RCPT TO:<user@d1.test>")
    except (ConnectionEnded, OSError, AssertionError):
        return  # the server was killed


def kill(server: RelevoServer) -> None:
    server.process.send(signal.SIGKILL)
    server.process.wait()


def subjects(server: RelevoServer, address: str) -> Counter[str]:
    """Of the messages in a mailbox; each has every effect once."""
    found: Counter[str] = Counter()
    for message in server.config.mailbox(address).messages():
        for effect in EFFECTS:
            assert message.count(effect) == 1, message
        head = message.partition(b"\nSubject: ")[2]
        found[head.partition(b"\n")[0].decode()] += 1
    return found


def verdicts(server: RelevoServer) -> Counter[tuple[str, str, str]]:
    """Rows of hooks in the history, by message, stage and hook."""
    path = server.config.data / "queue.db"
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as database:
        rows = database.execute("SELECT data FROM event WHERE kind = 'hook-verdict'").fetchall()
    events = [json.loads(row[0]) for row in rows if isinstance(row[0], bytes | str)]
    assert len(events) == len(rows)
    return Counter((event["message_id"], event["stage"], event["hook"]) for event in events)


def set_aside(server: RelevoServer) -> set[str]:
    """Ids of the messages in quarantine."""
    with open_reader(server.config.data) as reader:
        return {each.id for each in reader.messages(MessageFilter(is_quarantined=True))}


def send_and_kill(server: RelevoServer, answered: list[str], number: int) -> None:
    server.start()
    enough = len(answered) + 20
    threads = [
        threading.Thread(target=send_until_cut, args=(server, f"{number}-{sender}", answered))
        for sender in range(SENDERS)
    ]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(answered) > enough, timeout_s=60, what="some messages")
    time.sleep(0.05 * (number % 10))  # no synchronization: another moment each time
    kill(server)
    for thread in threads:
        thread.join(30)


def release_and_kill(server: RelevoServer) -> None:
    """Release all, and kill while some of them are through."""
    server.start()
    before = len(set_aside(server))
    release_all(server)
    wait_for(lambda: len(set_aside(server)) < before, timeout_s=60, what="some to be released")
    kill(server)


def release_all(server: RelevoServer) -> None:
    place = ("--config-dir", str(server.config.path))
    run_relevo(server.reaper, "quarantine", "release", "--all", *place, folder=server.config.path)


@pytest.mark.timeout(FORM.timeout_s)
def test_effects_of_hooks_happen_once_whenever_the_server_is_killed(server: RelevoServer) -> None:
    answered: list[str] = []
    for number in range(FORM.hook_kills):
        send_and_kill(server, answered, number)
    odd = {name for name in answered if name.startswith("odd")}
    fine = set(answered) - odd
    assert odd
    server.start()
    wait_for(lambda: server.status()["queue"]["messages"] == 0, timeout_s=90, what="an empty queue")
    kept = set_aside(server)
    assert len(kept) >= len(odd)
    for address in ("user@d1.test", "juan@d1.test"):
        found = subjects(server, address)
        assert fine <= set(found), "a message that was answered 250 is missing"
        assert not any(name.startswith("odd") for name in found)
    kill(server)

    for _ in range((FORM.hook_kills + 1) // 2):
        if set_aside(server):
            release_and_kill(server)
    server.start()
    if set_aside(server):
        release_all(server)
    wait_for(lambda: not set_aside(server), timeout_s=90, what="an empty quarantine")
    wait_for(lambda: server.status()["queue"]["messages"] == 0, timeout_s=90, what="an empty queue")
    for address in ("user@d1.test", "juan@d1.test"):
        found = subjects(server, address)
        assert set(answered) <= set(found), "a message that was answered 250 is missing"
        assert set(found.values()) == {1}, "a message was delivered twice"
        assert sum(name.startswith("odd") for name in found) == len(kept)
    rows = verdicts(server)
    assert set(rows.values()) == {1}
    assert {(stage, hook) for _, stage, hook in rows} == HOOKS
    assert len(rows) >= len(HOOKS) * len(answered)
