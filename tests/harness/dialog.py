"""A blocking SMTP client for tests that say exactly which octets go over the wire."""

from __future__ import annotations

import base64
import socket
import ssl
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from harness.certificates import client_context

READ_SIZE = 65536


class ConnectionEnded(Exception):
    """The server closed the connection where a reply was awaited."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply: its code and the text of each of its lines."""

    code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def __str__(self) -> str:
        return f"{self.code} {self.text}"


class Dialog:
    """One connection. The greeting is read by the constructor and kept in `greeting`."""

    def __init__(
        self,
        address: tuple[str, int],
        *,
        tls: bool = False,
        server_name: str | None = None,
        timeout_s: float = 15.0,
        source: str = "",
    ) -> None:
        """`source`: the address to connect from; "": the system chooses."""
        self._socket: socket.socket = socket.create_connection(
            address, timeout=timeout_s, source_address=(source, 0) if source else None
        )
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self.transcript: list[bytes] = []
        if tls:
            self._wrap(server_name)
        self.greeting = self.reply()

    def _wrap(self, server_name: str | None) -> None:
        context = client_context()
        self._socket = context.wrap_socket(self._socket, server_hostname=server_name)

    @property
    def local_port(self) -> int:
        return int(self._socket.getsockname()[1])

    @property
    def socket(self) -> socket.socket:
        """The connection, for what only it can do."""
        return self._socket

    @property
    def tls_socket(self) -> ssl.SSLSocket:
        assert isinstance(self._socket, ssl.SSLSocket)
        return self._socket

    def send(self, data: bytes) -> None:
        """These octets and no others."""
        self.transcript.append(b"> " + data[:200])
        self._socket.sendall(data)

    def reply(self) -> Reply:
        """The next reply. Raises ConnectionEnded."""
        lines: list[str] = []
        while True:
            line = self._line()
            self.transcript.append(b"< " + line)
            lines.append(line[4:].decode(errors="surrogateescape"))
            if line[3:4] != b"-":
                return Reply(int(line[:3]), tuple(lines))

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            try:
                data = self._socket.recv(READ_SIZE)
            except ConnectionResetError:
                data = b""
            if not data:
                raise ConnectionEnded(repr(self._buffer))
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def command(self, line: str | bytes) -> Reply:
        """A command line without its end, and the reply to it."""
        octets = line.encode() if isinstance(line, str) else line
        self.send(octets + b"\r\n")
        return self.reply()

    def expect(self, code: int, line: str | bytes) -> Reply:
        """As `command`; fails when the reply has another code."""
        reply = self.command(line)
        assert reply.code == code, f"{line!r}: {reply}"
        return reply

    def start_tls(self, *, server_name: str | None = None) -> None:
        """STARTTLS and the handshake."""
        self.expect(220, "STARTTLS")
        self.handshake(server_name=server_name)

    def handshake(self, *, server_name: str | None = None) -> None:
        """The TLS handshake alone."""
        self._wrap(server_name)

    def log_in(self, user: str, password: str) -> Reply:
        """AUTH PLAIN."""
        response = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
        return self.command(f"AUTH PLAIN {response}")

    def envelope(self, sender: str, *recipients: str) -> None:
        """EHLO, MAIL and RCPT, all of which must be accepted."""
        self.expect(250, "EHLO client.test")
        self.expect(250, f"MAIL FROM:<{sender}>")
        for recipient in recipients:
            self.expect(250, f"RCPT TO:<{recipient}>")

    def message(self, content: bytes) -> Reply:
        """DATA with `content` (CRLF lines, stuffed here) and the final reply."""
        self.expect(354, "DATA")
        stuffed = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]
        self.send(stuffed + b".\r\n")
        return self.reply()

    def rest(self) -> bytes:
        """What the server still sends until it closes; fails by a timeout when it does not."""
        while True:
            try:
                data = self._socket.recv(READ_SIZE)
            except (ConnectionResetError, ssl.SSLError):
                data = b""
            if not data:
                rest, self._buffer = self._buffer, b""
                return rest
            self._buffer += data

    def pending(self, timeout_s: float) -> bytes:
        """What arrives within `timeout_s` beyond what was read: to show that nothing does."""
        before = self._socket.gettimeout()
        self._socket.settimeout(timeout_s)
        try:
            self._buffer += self._socket.recv(READ_SIZE)
        except (TimeoutError, ConnectionResetError):
            pass
        finally:
            self._socket.settimeout(before)
        return self._buffer

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            print("---- dialog")
            for line in self.transcript[-60:]:
                print(repr(line))
        self.close()
