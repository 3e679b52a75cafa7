"""A client that pours octets into a server as fast as it takes them, and what that costs it."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from harness.load import proportional_set_size
from harness.server import RelevoServer

STALL_S = 20.0


@dataclass
class Poured:
    """What came of it."""

    sent: int = 0
    connections: int = 0
    said: bytearray = field(default_factory=bytearray)  # the last of what the server said


def pour(
    address: tuple[str, int], block: bytes, total: int, *, start: bytes = b"", most: int = 10_000
) -> Poured:
    """Send `start`, then `block` again and again, `total` octets in all.

    A new connection whenever the server closes, `most` of them at most; what the server says is
    read and dropped. Fails when a connection takes nothing for 20 s.
    """
    poured = Poured()
    while poured.sent < total and poured.connections < most:
        poured.connections += 1
        with socket.create_connection(address) as connection:
            connection.setblocking(False)
            _pour_into(connection, start, block, total, poured)
    return poured


def _pour_into(
    connection: socket.socket, start: bytes, block: bytes, total: int, poured: Poured
) -> None:
    pending = memoryview(start + block)
    moved = time.monotonic()
    while poured.sent < total:
        readable, writable, _ = select.select([connection], [connection], [], 1.0)
        try:
            if readable:
                said = connection.recv(65536)
                poured.said = (poured.said + said)[-2000:]
                if not said:
                    return
            if writable:
                count = connection.send(pending)
                poured.sent += count
                pending = pending[count:] or memoryview(block)
                moved = time.monotonic()
        except (ConnectionError, BlockingIOError):
            return
        assert time.monotonic() - moved < STALL_S, "the server takes nothing and does not close"


@contextmanager
def bounded_memory(server: RelevoServer, most: int) -> Iterator[None]:
    """Fails when the server's memory (all processes, by share) grows by more than `most` octets."""
    idle = proportional_set_size(server.process.pid)
    peaks = [idle]
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(0.05):
            peaks.append(proportional_set_size(server.process.pid))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()
    growth = max(peaks) - idle
    print(f"memory: idle {idle >> 20} MiB, at most {growth >> 20} MiB more")
    assert growth <= most, f"{growth >> 20} MiB more than idle"
