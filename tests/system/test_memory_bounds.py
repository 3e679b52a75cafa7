"""What connections and large messages cost in memory, over all processes of a server.

`make figures` measures the same with 5,000 connections, and beside other servers.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness import idle_crowd
from harness.dialog import Dialog
from harness.load import MIB, proportional_set_size, start_sender
from harness.server import RelevoFactory, RelevoServer
from harness.waiting import wait_for

CONNECTIONS = 1000
KIB = 1024


def start_quietly(start_relevo: RelevoFactory) -> RelevoServer:
    """A server that has done all it does for the first time."""
    server = start_relevo(settings={"log.level": "warning", "delivery.local": "discard"})
    for _ in range(8):  # so that each worker had some
        with Dialog(server.smtp) as client:
            client.envelope("a@r.test", "user@d1.test")
            assert client.message(b"Subject: x\r\n\r\nx\r\n").code == 250
    return server


@pytest.mark.parametrize(("how", "most"), [("plain", 8 * KIB), ("starttls", 28 * KIB)])
def test_an_idle_connection_is_small(start_relevo: RelevoFactory, how: str, most: int) -> None:
    server = start_quietly(start_relevo)
    idle = proportional_set_size(server.process.pid)
    host, port = server.smtp
    log = server.config.path / "crowd.log"
    program = str(Path(idle_crowd.__file__))
    command = [sys.executable, program, host, str(port), str(CONNECTIONS), how]
    crowd = server.reaper.start(command, log=log)
    wait_for(lambda: f"standing {CONNECTIONS}" in crowd.output(), timeout_s=60, what="the crowd")
    each = (proportional_set_size(server.process.pid) - idle) / CONNECTIONS
    print(f"{how}: {each / KIB:.1f} KiB a connection")
    assert 1 * KIB < each <= most  # less would mean that nothing was measured


@contextmanager
def watched(server: RelevoServer, growth: list[int]) -> Iterator[None]:
    """Adds to `growth` by how much the memory grew meanwhile, at most."""
    idle = proportional_set_size(server.process.pid)
    peak = idle
    is_over = threading.Event()

    def look() -> None:
        nonlocal peak
        while not is_over.wait(0.02):
            peak = max(peak, proportional_set_size(server.process.pid))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()
        growth.append(peak - idle)


@pytest.mark.parametrize(
    ("size", "at_once", "most"), [(49_000_000, 1, 30_000_000), (20_000_000, 8, 48_000_000)]
)
def test_large_messages_do_not_stay_in_memory(
    start_relevo: RelevoFactory, size: int, at_once: int, most: int
) -> None:
    server = start_quietly(start_relevo)
    growth: list[int] = []
    with watched(server, growth):
        senders = [
            start_sender(
                server.reaper,
                server.smtp,
                log=server.config.path / f"sender-{number}.log",
                size=size,
                count=1,
                recipient="user@d1.test",
            )
            for number in range(at_once)
        ]
        for sender in senders:
            assert sender.wait(90) == 0, sender.output()
            assert sender.output().startswith("250 "), sender.output()
        wait_for(lambda: not (server.status()["counters"]["accepted"] - 8 - at_once))
    print(f"{at_once} × {size // MIB} MiB: {growth[0] / MIB:.1f} MiB over idle")
    assert growth[0] <= most
