"""Processes that hang, die, or run out of what they need: the others serve, and nothing is lost."""

from __future__ import annotations

import os
import resource
import signal
import socket
import time
from pathlib import Path

import pytest

from harness.config_dir import Setting, relevo_config
from harness.load import MIB, start_sender
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


def send(server: RelevoServer) -> None:
    with server.dialog() as client:
        client.envelope("a@r.test", RECIPIENT)
        assert client.message(b"Subject: x\r\n\r\nx\r\n").code == 250


def slow_agent(folder: Path) -> dict[str, Setting]:
    """Settings for delivery by a command that takes 3 s."""
    agent = folder / "agent"
    agent.write_text(SLOW_AGENT.format(folder))
    agent.chmod(0o755)
    return {
        "delivery.local": "mda",
        "delivery.mda_command": str(agent),
        "delivery.mda_arguments": [],
    }


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
    server = start_relevo(settings={"server.hang_timeout": "1s", **slow_agent(tmp_path)})
    begun, ended = tmp_path / "begun", tmp_path / "ended"
    send(server)
    wait_for(lambda: begun.exists() and begun.read_text(), what="the command to run")
    command = int(begun.read_text())
    parent = int(Path(f"/proc/{command}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGSTOP)
    os.kill(command, signal.SIGSTOP)  # else it would end before its worker is found to hang
    wait_for(ended.exists, timeout_s=20, what="the message to be delivered")
    assert len(begun.read_text().split()) == 2
    assert str(command) not in ended.read_text()


def test_a_command_ends_with_a_supervisor_that_is_killed(
    start_relevo: RelevoFactory, tmp_path: Path
) -> None:
    server = start_relevo(settings=slow_agent(tmp_path))
    begun, ended = tmp_path / "begun", tmp_path / "ended"
    send(server)
    wait_for(lambda: begun.exists() and begun.read_text(), what="the command to run")
    server.process.send(signal.SIGKILL)
    server.process.wait()
    wait_for(lambda: not server.reaper.left(), timeout_s=2, what="the end of all")
    server.start()
    wait_for(ended.exists, timeout_s=20, what="the message to be delivered")
    first, second = begun.read_text().split()
    assert ended.read_text().split() == [second] != [first]


def test_a_hook_host_that_is_killed_costs_calls_and_no_message(
    start_relevo: RelevoFactory,
) -> None:
    server = start_relevo()
    hooks = server.config.path / "hooks"
    hooks.mkdir()
    (hooks / "post-data").write_text("#!/bin/sh\nsleep 0.05\necho X-Hook: called\n")
    (hooks / "post-data").chmod(0o755)
    assert ask(server.config.data, "reload")["problems"] == []
    with Sessions(lambda: server.smtp, clients=4) as sessions:
        sessions.wait_for_more(10)
        for _ in range(3):
            host = ask(server.config.data, "status")["hook_host"]
            os.kill(host["pid"], signal.SIGKILL)
            wait_for_another_host(server, host["pid"])
            sessions.wait_for_more(10)
    assert all("451" in failure for failure in sessions.failures), sessions.failures
    assert len(sessions.failures) <= 3 * sessions.clients
    wait_for(lambda: not sessions.lost(mailbox(server)), what="all deliveries")
    messages = [path.read_text() for path in (mailbox(server) / "new").iterdir()]
    assert all("X-Hook: called" in message for message in messages)


def test_a_hook_host_that_hangs_is_replaced(start_relevo: RelevoFactory) -> None:
    server = start_relevo(settings={"server.hang_timeout": "1s"})
    hooks = server.config.path / "hooks"
    hooks.mkdir()
    (hooks / "post-data").write_text("#!/bin/sh\necho X-Hook: called\n")
    (hooks / "post-data").chmod(0o755)
    assert ask(server.config.data, "reload")["problems"] == []
    with Sessions(lambda: server.smtp, clients=1) as sessions:
        sessions.wait_for_more(3)  # it lives, and has launchers
    host = ask(server.config.data, "status")["hook_host"]["pid"]
    os.kill(host, signal.SIGSTOP)
    server.wait_for_log("the hook host hangs")
    wait_for_another_host(server, host)
    with Sessions(lambda: server.smtp, clients=1) as sessions:
        sessions.wait_for_more(3)


def wait_for_another_host(server: RelevoServer, old: int) -> None:
    wait_for(
        lambda: ask(server.config.data, "status")["hook_host"]["pid"] not in {0, old},
        what="another hook host",
    )


def processor_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_without_free_descriptors_new_clients_hear_421_and_the_others_go_on(
    start_relevo: RelevoFactory, tmp_path: Path, loop: str
) -> None:
    config = relevo_config(
        tmp_path / "relevo",
        settings={
            "server.workers": 1,
            "server.loop": loop,
            "limits.connections_per_source": 1000,
        },
    )
    server = RelevoServer(start_relevo.reaper, config)
    server.start(wrapper=["bash", "-c", 'ulimit -n 240; exec "$@"', "limited"])
    [worker] = worker_pids(server)
    held = [server.dialog()]
    while held[-1].greeting.code == 220:
        held.append(server.dialog())
    with held.pop() as client:
        assert client.greeting.code == 421
    assert len(held) >= 100
    for _ in range(100):
        with server.dialog() as client:
            assert client.greeting.code == 421
    ticks = processor_ticks(worker)
    time.sleep(1)  # a busy loop would be seen
    assert processor_ticks(worker) - ticks < 30
    held[0].envelope("a@r.test", RECIPIENT)
    assert held[0].message(b"Subject: x\r\n\r\nx\r\n").code == 250
    assert len(config.mailbox(RECIPIENT).wait()) == 1
    for client in held:
        client.close()
    wait_for(lambda: is_greeted(server), what="a free place")
    log = server.process.output()
    assert log.count("limit of open files allows") == 1
    assert "Too many open files" not in log
    assert worker_pids(server) == [worker]


def is_greeted(server: RelevoServer) -> bool:
    with server.dialog() as client:
        return client.greeting.code == 220


def test_a_worker_without_memory_is_replaced_while_the_others_serve(
    start_relevo: RelevoFactory,
) -> None:
    server = start_relevo()
    with Sessions(lambda: server.smtp, clients=4) as sessions:
        sessions.wait_for_more(20)
        victim, other = worker_pids(server)
        size = int(Path(f"/proc/{victim}/statm").read_text().split()[0]) * resource.getpagesize()
        resource.prlimit(victim, resource.RLIMIT_AS, (size, size))
        senders = [
            start_sender(
                server.reaper, server.smtp, log=server.config.path / f"large-{number}",
                size=20 * MIB, count=1, recipient=RECIPIENT,
            )
            for number in range(6)
        ]  # fmt: skip
        for sender in senders:
            sender.wait(120)
        sessions.wait_for_more(20)
    wait_for(lambda: victim not in (now := worker_pids(server)) and len(now) == 2)
    assert other in worker_pids(server)
    output = server.process.output()  # a library may crash before Python can say it
    assert "no memory left" in output or f"(process {victim}) died" in output
    server.stop()
    server.start()  # what could not be delivered is tried again now
    wait_for(lambda: not sessions.lost(mailbox(server)), what="all deliveries")
    answered = [sender.output().split()[:1] == ["250"] for sender in senders]
    large = sum(path.stat().st_size > MIB for path in (mailbox(server) / "new").iterdir())
    assert large >= sum(answered)


def test_a_monitoring_process_that_hangs_is_replaced(start_relevo: RelevoFactory) -> None:
    server = start_relevo(
        settings={"server.hang_timeout": "1s", "listen.monitoring": "127.0.0.1:0"}
    )
    wait_for(lambda: health(server) == b"200", what="monitoring")
    old = ask(server.config.data, "status")["monitoring"]["pid"]
    os.kill(old, signal.SIGSTOP)
    server.wait_for_log("the monitoring process hangs")
    wait_for(lambda: health(server) == b"200", what="another one")
    assert ask(server.config.data, "status")["monitoring"]["pid"] not in {0, old}


def health(server: RelevoServer) -> bytes:
    with socket.create_connection(server.monitoring, timeout=10) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        words = client.recv(1000).split()
    return words[1] if len(words) > 1 else b""


def test_nobody_hangs_in_a_server_that_is_stopped_as_a_whole(start_relevo: RelevoFactory) -> None:
    server = start_relevo(settings={"server.hang_timeout": "2s"})
    before = worker_pids(server)
    os.killpg(server.process.pid, signal.SIGSTOP)
    time.sleep(4)
    os.killpg(server.process.pid, signal.SIGCONT)
    time.sleep(3)
    assert worker_pids(server) == before
    assert "no sign of life" not in server.process.output()
