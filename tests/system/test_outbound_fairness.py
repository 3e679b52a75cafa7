"""One domain that hangs and has much mail waiting delays nobody else's.

RELEVO_HOSTILE=full (`make hostile`) is the long form: 100,000 messages for it, 1,000 for others.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.config_dir import relevo_config
from harness.dialog import Dialog
from harness.dns_zones import start_dns
from harness.mail_sink import free_port
from harness.processes import Reaper
from harness.scripted_smtp import Line, Scripted, scripted
from harness.server import RelevoServer
from harness.waiting import wait_for
from relevo.queue import StoreOptions, create_database, new_id, open_store
from relevo.queue.store import (
    Envelope,
    MemoryContent,
    NewMessage,
    NewUnit,
    QueuedRecipient,
    TargetKind,
)

pytestmark = [pytest.mark.needs_debian("nsd"), pytest.mark.alone]

HANGING, WELL = "127.0.0.31", "127.0.0.32"
ZONE = ("hangs MX 10 mx.hangs", f"mx.hangs A {HANGING}", "well MX 10 mx.well", f"mx.well A {WELL}")
IS_FULL = os.environ.get("RELEVO_HOSTILE") == "full"
WAITING = 100_000 if IS_FULL else 10_000
OTHERS = 1000 if IS_FULL else 200
CONTENT = b"From: user@d1.test\r\nSubject: x\r\n\r\nHello\r\n"


def fill(data: Path, count: int) -> None:
    """Mail for the domain that hangs, due now."""
    data.mkdir(exist_ok=True)
    create_database(data)
    now = time.time()

    def message() -> NewMessage:
        recipient = QueuedRecipient(TargetKind.MAIL, "a@hangs.test", "a@hangs.test")
        unit = NewUnit("mx:hangs.test", (recipient,), now)
        return NewMessage(
            new_id(now), now, Envelope("user@d1.test"), MemoryContent(CONTENT), (unit,)
        )

    async def put() -> None:
        options = StoreOptions(min_free_space=0.0)
        store = open_store(data, owner=0, loop=asyncio.get_running_loop(), options=options)
        for _ in range(0, count, 500):
            await asyncio.gather(*(store.add(message(), lease=False) for _ in range(500)))
        await store.close()

    asyncio.run(put())


@contextmanager
def silent_server(port: int) -> Iterator[None]:
    """Connections are made, and nothing is ever said."""
    with socket.create_server((HANGING, port), backlog=4096):
        yield


def send_others(server: RelevoServer) -> dict[bytes, float]:
    """When each of the others was accepted, by its recipient."""
    accepted = {}
    with Dialog(server.submission) as client:
        client.expect(250, "EHLO client.test")
        client.start_tls()
        client.expect(250, "EHLO client.test")
        assert client.log_in("user@d1.test", "secret").code == 235
        for number in range(OTHERS):
            client.expect(250, "MAIL FROM:<user@d1.test>")
            client.expect(250, f"RCPT TO:<r{number}@well.test>")
            assert client.message(CONTENT).code == 250
            accepted[b"RCPT TO:<R%d@WELL.TEST>" % number] = time.monotonic()
    return accepted


def slowest(server: RelevoServer, peer: Scripted, seen: dict[bytes, float]) -> float:
    """Seconds from 250 to the arrival, of all others but the slowest hundredth."""
    seen.clear()
    accepted = send_others(server)
    wait_for(lambda: len(seen) >= OTHERS, timeout_s=60, what="the mail of the others")
    waits = sorted(seen[key] - since for key, since in accepted.items())
    return waits[int(len(waits) * 0.99) - 1]


def test_a_domain_that_hangs_delays_nobody_else(reaper: Reaper, tmp_path: Path) -> None:
    seen: dict[bytes, float] = {}

    def answer(_line: Line, command: bytes) -> str | None:
        if command.startswith(b"RCPT"):
            seen[command] = time.monotonic()
        return None

    port = free_port(HANGING, WELL)
    name_server = start_dns(reaper, tmp_path, {"test.": ZONE})
    config = relevo_config(
        tmp_path / "relevo",
        settings={
            "dns.servers": [str(name_server)],
            "outbound.port": port,
            "outbound.allow_addresses": ["127.0.0.0/8"],
        },
    )
    fill(config.data, WAITING)
    with silent_server(port), scripted(Scripted(WELL, port, answer)) as peer:
        server = RelevoServer(reaper, config).start()
        waits = []
        for _ in range(3):
            waits.append(slowest(server, peer, seen))
            if waits[-1] < 2:
                break
        assert min(waits) < 2, waits
