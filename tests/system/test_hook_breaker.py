"""A hook that only crashes is paused for the whole server, whichever worker has met it."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from pathlib import Path

from harness.dialog import Dialog
from harness.server import RelevoFactory, RelevoServer
from harness.waiting import wait_for

FAILURES = 4
MOST_CONNECTIONS = 200


def test_workers_count_failures_together(start_relevo: RelevoFactory) -> None:
    server = start_relevo(
        settings={
            "server.workers": 2,
            "hooks.breaker_failures": FAILURES,
            "hooks.breaker_pause": "10m",
        }
    )
    calls = server.config.path / "calls"
    hook = server.config.path / "hooks" / "post-data"
    write(hook, f"echo x >> {calls}\nkill -9 $$")
    after = len(server.process.output())
    with ExitStack() as stack:
        of_workers = one_connection_a_worker(server, stack)
        for number in range(FAILURES + 4):
            assert send(of_workers[number % 2]) == 451
    assert calls.read_text() == "x\n" * FAILURES
    server.wait_for_log(f"the last {FAILURES} calls all failed", after=after)
    write(hook, "exit 0")
    with ExitStack() as stack:
        for dialog in one_connection_a_worker(server, stack):
            assert send(dialog) == 250


def write(hook: Path, text: str) -> None:
    hook.parent.mkdir(exist_ok=True)
    fresh = hook.with_suffix(".new")
    fresh.write_text(f"#!/bin/sh\n{text}\n")
    fresh.chmod(0o755)
    fresh.rename(hook)


def send(dialog: Dialog) -> int:
    dialog.expect(250, "MAIL FROM:<a@r.test>")
    dialog.expect(250, "RCPT TO:<user@d1.test>")
    dialog.expect(354, "DATA")
    dialog.send(b"Subject: s\r\n\r\nbody\r\n.\r\n")
    return dialog.reply().code


def one_connection_a_worker(server: RelevoServer, stack: ExitStack) -> list[Dialog]:
    """A connection to each worker, after EHLO."""
    found: dict[int, Dialog] = {}
    workers = server.workers()
    for _ in range(MOST_CONNECTIONS):
        dialog = stack.enter_context(Dialog(server.smtp, timeout_s=30))
        found.setdefault(owner(dialog, workers), dialog)
        if found.keys() == workers:
            break
    assert found.keys() == workers
    for dialog in found.values():
        dialog.expect(250, "EHLO client.test")
    return [found[pid] for pid in sorted(found)]


def owner(dialog: Dialog, workers: set[int]) -> int:
    """Which of the processes has the other end of a connection."""
    port = f"{dialog.local_port:04X}"

    def inode() -> str:
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            words = line.split()
            if words[2].endswith(f":{port}") and words[9] != "0":
                return words[9]
        return ""

    link = f"socket:[{wait_for(inode, what='the accepted connection')}]"
    for pid in workers:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                if str(entry.readlink()) == link:
                    return pid
    raise AssertionError(f"{link} belongs to none of {workers}")
