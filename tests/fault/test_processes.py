"""Processes that hang, die, or run out of what they need: the others serve, and nothing is lost."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from harness.server import RelevoFactory, RelevoServer
from harness.sessions import RECIPIENT, Sessions
from harness.waiting import wait_for
from relevo.service.control import ask

HANG_ON_SIGNAL = str(Path(__file__).parents[1] / "harness" / "hang_on_signal")
HANGING = {
    "PYTHONPATH": os.pathsep.join(filter(None, (HANG_ON_SIGNAL, os.environ.get("PYTHONPATH"))))
}
SLOW_AGENT = "#!/bin/sh\necho $$ >> {0}/begun\nsleep 3\necho $$ >> {0}/ended\n"


def worker_pids(server: RelevoServer) -> list[int]:
    return [each["pid"] for each in ask(server.config.data, "status")["workers"] if each["pid"]]


def mailbox(server: RelevoServer) -> Path:
    return server.config.path / "mail" / "d1.test" / "user"


def test_a_worker_that_hangs_says_where_and_is_replaced(start_relevo: RelevoFactory) -> None:
    server = start_relevo(settings={"server.hang_timeout": "1s"}, env=HANGING)
    before = worker_pids(server)
    with Sessions(lambda: server.smtp, clients=4) as sessions:
        sessions.wait_for_more(20)
        os.kill(before[0], signal.SIGURG)
        wait_for(lambda: before[0] not in (now := worker_pids(server)) and len(now) == 2)
        sessions.wait_for_more(20)
    log = server.process.output()
    assert "in hang_here" in log, "the stack of the worker"
    assert "died with -6" in log
    assert len(sessions.failures) <= sessions.clients, "only sessions of the worker that hung"
    wait_for(lambda: not sessions.lost(mailbox(server)), what="all deliveries")
    assert before[1] in worker_pids(server)


def test_what_a_hung_worker_was_delivering_is_delivered_by_another_at_once(
    start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    agent = tmp_path / "agent"
    agent.write_text(SLOW_AGENT.format(tmp_path))
    agent.chmod(0o755)
    server = start_relevo(
        settings={
            "server.hang_timeout": "1s",
            "delivery.local": "mda",
            "delivery.mda_command": str(agent),
            "delivery.mda_arguments": [],
        }
    )
    begun, ended = tmp_path / "begun", tmp_path / "ended"
    with server.dialog() as client:
        client.envelope("a@r.test", RECIPIENT)
        assert client.message(b"Subject: x\r\n\r\nx\r\n").code == 250
    wait_for(lambda: begun.exists() and begun.read_text(), what="the command to run")
    command = int(begun.read_text())
    parent = int(Path(f"/proc/{command}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGSTOP)
    os.kill(command, signal.SIGSTOP)  # else it would end before its worker is found to hang
    wait_for(ended.exists, timeout_s=20, what="the message to be delivered")
    assert len(begun.read_text().split()) == 2
    assert str(command) not in ended.read_text()


def test_nobody_hangs_in_a_server_that_is_stopped_as_a_whole(start_relevo: RelevoFactory) -> None:
    server = start_relevo(settings={"server.hang_timeout": "2s"})
    before = worker_pids(server)
    os.killpg(server.process.pid, signal.SIGSTOP)
    time.sleep(4)
    os.killpg(server.process.pid, signal.SIGCONT)
    time.sleep(3)
    assert worker_pids(server) == before
    assert "no sign of life" not in server.process.output()
