"""Messages and reloads leave nothing behind: descriptors, processes, memory stay as they were."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from fault.form import FORM
from harness.dialog import Dialog
from harness.load import MIB
from harness.server import RelevoFactory, RelevoServer
from harness.sessions import RECIPIENT
from harness.waiting import wait_for
from relevo.service.control import ask

CLIENTS = 4
MESSAGES_A_SESSION = 50
RELOADS = 20
MOST_GROWTH = 8 * MIB  # a process
ENVELOPE = f"MAIL FROM:<a@r.test>\r\nRCPT TO:<{RECIPIENT}>\r\nDATA\r\n".encode()
CONTENT = b"Subject: x\r\n\r\n" + b"0123456789" * 100 + b"\r\n.\r\n"


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a server holds, by process."""

    descriptors: dict[int, int]
    resident: dict[int, int]

    @classmethod
    def of(cls, server: RelevoServer) -> Footprint:
        pids = server.reaper.left()
        return cls(
            {pid: sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()) for pid in pids},
            {pid: _resident(pid) for pid in pids},
        )


def _resident(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    return 0


def send_many(server: RelevoServer, count: int) -> None:
    """That many messages, by some clients at once."""
    codes: Counter[int] = Counter()

    def send() -> None:
        left = count // CLIENTS
        while left > 0:
            with Dialog(server.smtp, timeout_s=60) as client:
                client.expect(250, "EHLO c.test")
                for _ in range(min(left, MESSAGES_A_SESSION)):
                    client.send(ENVELOPE)
                    assert [client.reply().code for _ in range(3)] == [250, 250, 354]
                    client.send(CONTENT)
                    codes[client.reply().code] += 1
            left -= MESSAGES_A_SESSION

    threads = [threading.Thread(target=send) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == {250: count}


@pytest.mark.timeout(FORM.timeout_s)
def test_nothing_grows_over_messages_and_reloads(
    start_relevo: RelevoFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    server = start_relevo(
        settings={
            "delivery.local": "discard",
            "limits.connections_per_source": 100,
            "log.level": "info",
        }
    )
    send_many(server, FORM.messages)  # what is made with the first use, is there now
    reload_often(server)
    before = settled(server, None)
    send_many(server, FORM.messages)
    reload_often(server)
    after = settled(server, before)
    assert after.descriptors == before.descriptors
    grown = {pid: after.resident[pid] - before.resident[pid] for pid in before.resident}
    with capsys.disabled():
        print(f"\ngrowth over {FORM.messages} messages and {RELOADS} reloads, octets: {grown}")
    assert max(grown.values()) < MOST_GROWTH


def reload_often(server: RelevoServer) -> None:
    for _ in range(RELOADS):
        done = server.process.output().count("files re-read")
        assert ask(server.config.data, "reload")["problems"] == []
        wait_for_reload(server, done + 2)


def wait_for_reload(server: RelevoServer, times: int) -> None:
    wait_for(lambda: server.process.output().count("files re-read") >= times, what="the reload")


def settled(server: RelevoServer, expected: Footprint | None) -> Footprint:
    """Once all is delivered, no connection is open, and descriptors are as expected."""
    wait_for(lambda: ask(server.config.data, "status")["connections"] == 0)
    counters = "accepted", "delivered"
    wait_for(
        lambda: (
            len({ask(server.config.data, "status")["counters"][name] for name in counters}) == 1
        ),
        timeout_s=60,
        what="all deliveries",
    )
    if expected is not None:
        wait_for(lambda: Footprint.of(server).descriptors == expected.descriptors, timeout_s=20)
    return Footprint.of(server)
