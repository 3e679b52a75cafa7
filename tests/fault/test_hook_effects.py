"""What hooks asked for survives a kill with its message: exactly once, or not at all."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import closing

import apsw

from harness.dialog import ConnectionEnded, Dialog
from harness.server import RelevoFactory, RelevoServer
from harness.waiting import wait_for

KILLS = 3
SENDERS = 4
TOML = """
[[hook]]
stage = "rcpt"
form = "worker"
target = "marker"
[[hook]]
stage = "post-data"
form = "worker"
target = "marker"
"""
MARKER = f"""#!{sys.executable}
import json, sys
for line in iter(sys.stdin.buffer.readline, b""):
    call = json.loads(line)
    sys.stdin.buffer.read(call["size"])
    answer = {{"tags": ["seen"]}}
    if call["context"]["stage"] == "post-data":
        answer["add_headers"] = [{{"name": "X-Mark", "value": "once"}}]
        answer["add_recipients"] = ["juan@d1.test"]
    print(json.dumps({{"id": call["id"], "answer": answer}}), flush=True)
"""


def send_until_cut(server: RelevoServer, run: str, answered: list[str]) -> None:
    number = 0
    try:
        with Dialog(server.smtp, timeout_s=20) as dialog:
            dialog.envelope("a@r.test", "user@d1.test")
            while True:
                number += 1
                name = f"{run}-{number}"
                if dialog.message(f"Subject: {name}\r\n\r\nx\r\n".encode()).code == 250:
                    answered.append(name)
                dialog.expect(250, "MAIL FROM:<a@r.test>")
                dialog.expect(250, "RCPT TO:<user@d1.test>")
    except (ConnectionEnded, OSError, AssertionError):
        return  # the server was killed


def wait_until_longer(answered: list[str], length: int) -> None:
    wait_for(lambda: len(answered) > length, timeout_s=60, what="some messages")


def subjects(server: RelevoServer, address: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for message in server.config.mailbox(address).messages():
        assert message.count(b"X-Mark: once") == 1, message
        head = message.partition(b"Subject: ")[2]
        found[head.partition(b"\n")[0].decode()] += 1
    return found


def verdicts(server: RelevoServer) -> Counter[tuple[str, str]]:
    """Rows of hooks in the history, by message and stage."""
    path = server.config.data / "queue.db"
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as database:
        rows = database.execute("SELECT data FROM event WHERE kind = 'hook-verdict'").fetchall()
    events = [json.loads(row[0]) for row in rows if isinstance(row[0], bytes | str)]
    assert len(events) == len(rows)
    return Counter((event["message_id"], event["stage"]) for event in events)


def test_effects_of_hooks_happen_once_whenever_the_server_is_killed(
    start_relevo: RelevoFactory,
) -> None:
    server = start_relevo()
    program = server.config.path / "marker"
    program.write_text(MARKER)
    program.chmod(0o755)
    settings = server.config.path / "relevo.toml"
    settings.write_text(settings.read_text() + TOML)
    server.stop()
    answered: list[str] = []
    for kill in range(KILLS):
        server.start()
        enough = len(answered) + 20
        threads = [
            threading.Thread(target=send_until_cut, args=(server, f"{kill}-{sender}", answered))
            for sender in range(SENDERS)
        ]
        for thread in threads:
            thread.start()
        wait_until_longer(answered, enough)
        time.sleep(0.05 * kill)  # no synchronization: another moment each time
        server.process.send(signal.SIGKILL)
        server.process.wait()
        for thread in threads:
            thread.join(30)
    server.start()
    wait_for(lambda: server.status()["queue"]["messages"] == 0, timeout_s=90, what="an empty queue")
    for address in ("user@d1.test", "juan@d1.test"):
        found = subjects(server, address)
        assert set(answered) <= set(found), "a message that was answered 250 is missing"
        assert set(found.values()) == {1}, "a message was delivered twice"
    rows = verdicts(server)
    assert set(rows.values()) == {1}
    assert len(rows) >= 2 * len(answered)
