"""A server with one hostile hook, what its other clients feel meanwhile, and what is left of it."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.dialog import ConnectionEnded, Dialog, Reply
from harness.latency import Latency
from harness.processes import children
from harness.server import RelevoServer
from harness.waiting import wait_for

TOKEN_NAME = "HOSTILE_TOKEN"
HOSTILE = "evil@r.test"
BELIEVED_S = 0.03  # the server believes for 20 ms that there is no hook
ROUNDS = 100  # on one connection: the server ends one that never sends a message
MEASURED_S = 1.0  # a p99 needs samples
MEMORY_SLACK = 64 * 1024 * 1024
GONE_WITHIN_S = 5.0  # thousands of processes take their time to end on a busy machine


class HookSite:
    """The server, and the hook that stands in it now."""

    def __init__(self, server: RelevoServer) -> None:
        self.server = server
        self.folder = server.config.path / "hooks"
        self.folder.mkdir(exist_ok=True)
        self.hook = self.folder / "post-data"
        self.token = uuid.uuid4().hex

    def write(self, text: str, *, mode: int = 0o755) -> None:
        """A hook that is hostile to every message; the rename lets no call find half of it."""
        fresh = self.folder / ".new"
        fresh.write_text(f"#!/bin/sh\nexport {TOKEN_NAME}={self.token}\n{text}\n")
        fresh.chmod(mode)
        fresh.rename(self.hook)
        time.sleep(BELIEVED_S)

    def write_for_one(self, text: str) -> None:
        """Hostile to the messages of `HOSTILE` only."""
        self.write(f'[ "$MAIL_FROM" = {HOSTILE} ] || exit 0\n{text}')

    def clear(self) -> None:
        if self.hook.is_dir() and not self.hook.is_symlink():
            self.hook.rmdir()
        else:
            self.hook.unlink(missing_ok=True)

    def send(self, message: bytes = b"A: b\r\n\r\nx\r\n", sender: str = HOSTILE) -> Reply:
        """One message, from the one the hook does not like; the final reply."""
        with Dialog(self.server.smtp, timeout_s=30) as dialog:
            return transact(dialog, sender, message)

    def strays(self) -> list[int]:
        """Living processes that a hook of this site has started, and zombies of the server."""
        return [*_with_token(f"{TOKEN_NAME}={self.token}"), *self._zombies()]

    def _zombies(self) -> list[int]:
        return [pid for pid in _tree(self.server.process.pid) if _state(pid) == "Z"]

    def wait_until_gone(self) -> None:
        wait_for(
            lambda: not self.strays(), timeout_s=GONE_WITHIN_S, what="the end of all its processes"
        )

    def memory(self) -> int:
        """Proportional set size of the server with all its processes, octets."""
        return sum(_pss(pid) for pid in (self.server.process.pid, *_tree(self.server.process.pid)))

    def latency(self) -> Latency:
        """What other clients feel when nothing happens."""
        with self.others() as measured:
            pass
        return measured[0]

    @contextmanager
    def others(self) -> Iterator[list[Latency]]:
        """Clients that are served while the block runs, and for a second at least.

        The list has their latency after it.
        """
        clients = [_OtherClient(self.server) for _ in range(2)]
        measured: list[Latency] = []
        end = time.monotonic() + MEASURED_S
        for client in clients:
            client.start()
        try:
            yield measured
            time.sleep(max(0.0, end - time.monotonic()))
        finally:
            for client in clients:
                client.stop()
        problems = [client.problem for client in clients if client.problem is not None]
        assert problems == [], problems
        measured.append(Latency.of([each for client in clients for each in client.seconds]))


def transact(dialog: Dialog, sender: str, message: bytes) -> Reply:
    """A whole transaction on a new connection."""
    dialog.command("EHLO client.test")
    dialog.command(f"MAIL FROM:<{sender}>")
    assert dialog.command("RCPT TO:<user@d1.test>").code == 250
    assert dialog.command("DATA").code == 354
    dialog.send(message + b".\r\n")
    return dialog.reply()


class _OtherClient(threading.Thread):
    """Says MAIL, RCPT and RSET again and again, and takes the time of each."""

    def __init__(self, server: RelevoServer) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._dialog = self._connected()
        self._end = threading.Event()
        self.seconds: list[float] = []
        self.problem: BaseException | None = None

    def _connected(self) -> Dialog:
        dialog = Dialog(self._server.smtp, timeout_s=10)
        dialog.command("EHLO other.test")
        return dialog

    def run(self) -> None:
        rounds = 0
        try:
            while not self._end.wait(0.002):
                rounds += 1
                if rounds % ROUNDS == 0:
                    self._dialog.close()
                    self._dialog = self._connected()
                for line in ("MAIL FROM:<a@r.test>", "RCPT TO:<user@d1.test>", "RSET"):
                    start = time.perf_counter()
                    reply = self._dialog.command(line)
                    assert reply.code == 250, reply
                    self.seconds.append(time.perf_counter() - start)
        except (AssertionError, OSError, ConnectionEnded) as error:
            self.problem = error

    def stop(self) -> None:
        self._end.set()
        self.join(10)
        self._dialog.close()


def _tree(root: int) -> list[int]:
    found = []
    waiting = [root]
    while waiting:
        below = children(waiting.pop())
        found += below
        waiting += below
    return found


def _with_token(entry: str) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with suppress(OSError):
                if entry.encode() in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
    return [pid for pid in found if _state(pid) not in {"Z", ""}]


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def _pss(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
