"""Clients that come one after another, each with one message, and take note of what goes wrong.

For what may not disturb anybody: reloads, restarts, new certificates. A session fails when its
connection is refused or ends, or a reply is another one than it should be, before its message is
answered; what comes after that answer costs nobody a message.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.dialog import ConnectionEnded, Dialog
from harness.waiting import wait_for

RECIPIENT = "user@d1.test"


@dataclass(slots=True)
class Sessions:
    """`clients` threads; every second one uses STARTTLS. Runs within `with`."""

    address: Callable[[], tuple[str, int]]
    clients: int = 6
    recipient: str = RECIPIENT
    accepted: list[str] = field(default_factory=list)  # subjects of messages answered 250
    failures: list[str] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)
    _is_over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        for number in range(self.clients):
            thread = threading.Thread(target=self._run, args=(number,), daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self._threads), "a session hangs"

    def wait_for_more(self, count: int, *, timeout_s: float = 60.0) -> None:
        """Until so many messages more are accepted."""
        goal = len(self.accepted) + count
        wait_for(
            lambda: len(self.accepted) >= goal,
            timeout_s=timeout_s,
            what=f"{count} more messages; failures: {self.failures[:5]}",
        )

    def lost(self, maildir: Path) -> set[str]:
        """Subjects that were answered 250 and are in no file of the Maildir."""
        found = {
            line
            for path in (maildir / "new").iterdir()
            for line in path.read_text(errors="replace").splitlines()
            if line.startswith("Subject: ")
        }
        return {subject for subject in self.accepted if f"Subject: {subject}" not in found}

    def _run(self, number: int) -> None:
        count = 0
        while not self._is_over.is_set():
            count += 1
            subject = f"session {number} message {count}"
            step = "connect"
            try:
                with Dialog(self.address(), timeout_s=60) as client:
                    step = "greeting"
                    assert client.greeting.code == 220, client.greeting
                    if number % 2:
                        step = "STARTTLS"
                        client.expect(250, "EHLO client.test")
                        client.start_tls()
                    step = "envelope"
                    client.envelope("sender@r.test", self.recipient)
                    step = "message"
                    reply = client.message(f"Subject: {subject}\r\n\r\nx\r\n".encode())
                    assert reply.code == 250, reply
                    self.accepted.append(subject)
                    step = "after"
                    client.send(b"QUIT\r\n")
            except (OSError, ConnectionEnded, AssertionError) as error:
                if step != "after":
                    self.failures.append(f"{subject}: {step}: {error!r}")
