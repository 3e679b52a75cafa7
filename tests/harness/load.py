"""Senders of large messages in processes of their own, and what a session beside them feels."""

from __future__ import annotations

import gc
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.dialog import Dialog
from harness.processes import Process, Reaper, children
from harness.waiting import wait_for

MIB = 1024 * 1024
NOOPS_A_SESSION = 500  # a session that does nothing else is ended after 1000
LINE = b"0123456789abcdefghijklmnopqrstuvwxyz, a line of an attached picture ....\r\n"

# arguments: host, port, TLS or not, size, recipient, how many messages; prints the code of each
SENDER = """
import socket, ssl, sys
host, port, tls, size, recipient, count = sys.argv[1:]
line = %r
head = b"Subject: large\\r\\n\\r\\n"
body = head + line * ((int(size) - len(head)) // len(line))
sock = socket.create_connection((host, int(port)))
file = sock.makefile("rb")
def reply():
    while (answer := file.readline())[3:4] == b"-":
        pass
    return answer[:3].decode()
def say(text):
    sock.sendall(text.encode() + b"\\r\\n")
    return reply()
reply()
say("EHLO large.test")
if tls == "tls":
    say("STARTTLS")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    sock = context.wrap_socket(sock)
    file = sock.makefile("rb")
    say("EHLO large.test")
for _ in range(int(count)):
    say("MAIL FROM:<large@r.test>")
    say(f"RCPT TO:<{recipient}>")
    assert say("DATA") == "354"
    sock.sendall(body)
    print(say("."), len(body), flush=True)
"""

ECHO = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
client, _ = listener.accept()
client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
while data := client.recv(64):
    client.sendall(data)
"""


def large_message(size: int) -> bytes:
    """What a sender sends for this size."""
    head = b"Subject: large\r\n\r\n"
    return head + LINE * ((size - len(head)) // len(LINE))


def start_sender(
    reaper: Reaper,
    address: tuple[str, int],
    *,
    log: Path,
    size: int,
    count: int,
    recipient: str,
    is_tls: bool = False,
) -> Process:
    """A process that sends `count` messages of about `size` octets over one connection."""
    host, port = address
    transport = "tls" if is_tls else "plain"
    words = [sys.executable, "-c", SENDER % LINE, host, port, transport, size, recipient, count]
    return reaper.start([str(word) for word in words], log=log)


@dataclass(frozen=True, slots=True)
class Latencies:
    """Round trips in seconds: of NOOP, and at the same time of a bare echo process.

    The echo process does nothing else, so its worst time is what the machine itself adds.
    """

    noop: tuple[float, ...]
    echo: tuple[float, ...]

    @staticmethod
    def percentile(values: Sequence[float], share: float) -> float:
        ordered = sorted(values)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]

    def __str__(self) -> str:
        lines = []
        for name, values in (("NOOP", self.noop), ("echo", self.echo)):
            shown = [f"{self.percentile(values, share) * 1e3:.1f}" for share in (0.5, 0.99, 1)]
            lines.append(f"{name}: {len(values)} round trips, p50/p99/max ms {' / '.join(shown)}")
        return "; ".join(lines)


def round_trip(connection: socket.socket, octets: bytes) -> float:
    """Seconds from sending octets to the first part of the answer."""
    started = time.monotonic()
    connection.sendall(octets)
    assert connection.recv(1000)[:1] in {b"2", b"x"}, "the session was ended"
    return time.monotonic() - started


def measure(reaper: Reaper, address: tuple[str, int], *, log: Path, seconds: float) -> Latencies:
    """Round trips of one waiting session, NOOP and echo in turns, for `seconds`."""
    echo = reaper.start([sys.executable, "-c", ECHO], log=log)
    port = int(wait_for(echo.output, what="the echo process"))
    noops: list[float] = []
    echoes: list[float] = []
    end = time.monotonic() + seconds
    gc.collect()
    gc.disable()
    try:
        with socket.create_connection(("127.0.0.1", port)) as control:
            control.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while time.monotonic() < end:
                with Dialog(address) as client:
                    client.expect(250, "EHLO prober.test")
                    for _ in range(NOOPS_A_SESSION):
                        noops.append(round_trip(client.socket, b"NOOP\r\n"))
                        echoes.append(round_trip(control, b"x"))
    finally:
        gc.enable()
    return Latencies(tuple(noops), tuple(echoes))


def proportional_set_size(pid: int) -> int:
    """Octets of memory of a process and its descendants, shared pages counted by share."""
    total = 0
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            total = int(line.split()[1]) * 1024
    return total + sum(proportional_set_size(child) for child in children(pid))


@dataclass(frozen=True, slots=True)
class Held:
    """How long callbacks of a server's event loops held them, in seconds."""

    callbacks: int
    longest: float
    computing: float  # the most that one computed: without waiting for the interpreter
    what: str  # the callback that took longest


def probe_environment(folder: Path) -> dict[str, str]:
    """Makes a server measure its callbacks (see loop_probe) into `folder`."""
    folder.mkdir()
    probe = Path(__file__).with_name("loop_probe")
    return {"PYTHONPATH": str(probe), "RELEVO_LOOP_PROBE": str(folder)}


def begin_probe(folder: Path) -> None:
    """From now on: what was measured before is forgotten."""
    (folder / "begin.now").touch()


def read_probe(folder: Path) -> Held:
    """What the processes of the server measured so far."""
    reports = [path.read_text().split(" ", 3) for path in folder.iterdir() if not path.suffix]
    assert reports, "nothing was measured: does the server run on asyncio's loop?"
    longest = max(reports, key=lambda report: float(report[1]))
    return Held(
        sum(int(report[0]) for report in reports),
        float(longest[1]),
        max(float(report[2]) for report in reports),
        longest[3],
    )
