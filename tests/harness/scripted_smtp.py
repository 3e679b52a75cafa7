"""A mail server that behaves as a test says: well but for one thing, or not at all."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

TIMEOUT_S = 30.0


class Gone(Exception):
    """The client closed, or the script wants the connection cut."""


@dataclass
class Line:
    """One connection, read line by line."""

    socket: socket.socket
    number: int  # of the connection, from 1
    recipients: int = 0  # taken in this transaction
    buffer: bytes = b""

    def say(self, text: str | bytes) -> None:
        octets = text.encode() + b"\r\n" if isinstance(text, str) else text
        self.socket.sendall(octets)

    def read(self) -> bytes:
        """A line without its end. Raises Gone."""
        while b"\r\n" not in self.buffer:
            data = self.socket.recv(65536)
            if not data:
                raise Gone
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line

    def body(self) -> bytes:
        """Up to the final dot, without it. Raises Gone."""
        lines = []
        while (line := self.read()) != b".":
            lines.append(line)
        return b"".join(line + b"\r\n" for line in lines)


Answer = Callable[[Line, bytes], str | None]
"""Gets the connection and the command in upper case; None: the ordinary answer."""


def as_usual(_line: Line, _command: bytes) -> str | None:
    return None


@dataclass
class Scripted:
    """A running server. `connections` counts them; `messages` holds what was answered 250."""

    host: str
    port: int
    answer: Answer = as_usual
    greeting: str = "220 scripted.test ESMTP"
    extensions: tuple[str, ...] = ("PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 10000000")
    connections: int = 0
    at_once: int = 0
    most_at_once: int = 0
    commands: list[bytes] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)

    def serve(self, client: socket.socket) -> None:
        self.connections += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        client.settimeout(TIMEOUT_S)
        with contextlib.suppress(OSError, Gone), client:
            line = Line(client, self.connections)
            line.say(self.answer(line, b"GREETING") or self.greeting)
            while self._step(line, line.read()):
                pass
        self.at_once -= 1

    def _step(self, line: Line, command: bytes) -> bool:
        self.commands.append(command)
        verb = command.upper()
        answer = self.answer(line, verb)
        if answer is not None:
            line.say(answer)
            return not answer.startswith("421")
        if verb.startswith((b"EHLO", b"LHLO")):
            line.say("\r\n".join(("250-scripted.test", *(f"250-{e}" for e in self.extensions))))
            line.say("250 HELP")
        elif verb == b"DATA" and not line.recipients:
            line.say("554 5.5.1 no valid recipients")
        elif verb == b"DATA":
            line.say("354 go on")
            body = line.body()
            final = self.answer(line, b".") or "250 2.0.0 taken"
            if final.startswith("250"):
                self.messages.append(body)
            line.say(final)
        elif verb.startswith(b"AUTH"):
            line.say("235 2.7.0 welcome")
        elif verb == b"QUIT":
            line.say("221 bye")
            return False
        else:
            line.recipients = line.recipients + 1 if verb.startswith(b"RCPT") else 0
            line.say("250 2.1.0 ok")
        return True


@contextmanager
def scripted(server: Scripted) -> Iterator[Scripted]:
    """Run it, a thread for each connection."""
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    listener = socket.create_server((server.host, server.port), family=family)
    server.port = listener.getsockname()[1]

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=server.serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
