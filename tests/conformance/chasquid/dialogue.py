"""A small SMTP client for the dialogue tests: bytes out, replies in, nothing hidden.

It validates nothing, so that a test may send whatever a hostile peer may send, and it never
hangs: every wait ends at the client's timeout with `Silence`.
"""

from __future__ import annotations

import base64
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from harness.certificates import client_context

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

MESSAGE = b"A: b\r\n\r\nx\r\n"
SENDER = "a@pass.test"
RECIPIENT = "user@d1.test"


class Silence(Exception):
    """The server did not answer within the client's timeout."""


class Closed(Exception):
    """The server closed the connection where a reply was due."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply; `lines` are the texts behind the code, without line ends."""

    code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The last line as sent, so that `startswith("550 5.1.1")` reads like the page."""
        return f"{self.code} {self.lines[-1]}"

    @property
    def keywords(self) -> dict[str, str]:
        """EHLO keywords and their parameters: all lines but the first."""
        pairs = (line.partition(" ") for line in self.lines[1:])
        return {keyword.upper(): parameters for keyword, _, parameters in pairs}


class Client:
    """One connection. `greeting` is read at once.

    `first` is sent before anything else, the TLS handshake included: a proxy's header.
    """

    def __init__(
        self,
        address: tuple[str, int],
        *,
        tls: bool = False,
        timeout: float = 10,
        first: bytes = b"",
    ) -> None:
        self._timeout = timeout
        self._buffer = bytearray()
        self._socket = socket.create_connection(address, timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.send(first)
            if tls:
                self._wrap()
            self.greeting = self.read_reply()
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    @property
    def local_port(self) -> int:
        """Our own port, as the server sees it."""
        return int(self._socket.getsockname()[1])

    def _wrap(self) -> None:
        self._socket = client_context().wrap_socket(self._socket)

    # bytes and replies

    def send(self, data: bytes) -> None:
        """Errors are swallowed: a server that has closed is noticed at the next reply."""
        try:
            self._socket.sendall(data)
        except TimeoutError:
            raise Silence("the server takes no more octets") from None
        except OSError:
            return

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(65536)
        except TimeoutError:
            raise Silence(f"no octet within {self._timeout} s") from None
        except OSError:  # a reset counts as closed
            return b""

    def _read_line(self) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            data = self._receive()
            if not data:
                raise Closed(f"connection closed; left over: {bytes(self._buffer)!r}")
            self._buffer += data
        line = bytes(self._buffer[:end]).rstrip(b"\r")
        del self._buffer[: end + 1]
        return line

    def read_reply(self) -> Reply:
        """Read one whole reply; raises Silence or Closed."""
        lines: list[str] = []
        while True:
            line = self._read_line()
            assert line[:3].isdigit(), f"not a reply line: {line!r}"
            lines.append(line[4:].decode())
            if line[3:4] != b"-":
                return Reply(int(line[:3]), tuple(lines))

    def is_closed(self) -> bool:
        """True when the server ends the connection without a further reply."""
        try:
            reply = self.read_reply()
        except Closed:
            return True
        except Silence:
            return False
        raise AssertionError(f"expected the end of the connection, got {reply}")

    # commands

    def command(self, line: str | bytes) -> Reply:
        """Send one line and read its reply."""
        data = line.encode() if isinstance(line, str) else line
        self.send(data + b"\r\n")
        return self.read_reply()

    def expect(self, line: str | bytes, prefix: str) -> Reply:
        """`command`, and the last line of its reply must start with the prefix."""
        reply = self.command(line)
        assert reply.text.startswith(prefix), f"{line[:100]!r}: {prefix!r} expected, not {reply}"
        return reply

    def ehlo(self, name: str = "cli") -> Reply:
        return self.expect(f"EHLO {name}", "250")

    def starttls(self) -> None:
        """STARTTLS and the handshake; no EHLO is sent after it."""
        self.expect("STARTTLS", "220")
        self._handshake()

    def _handshake(self) -> None:
        self._buffer.clear()
        self._wrap()

    def inject_starttls(self, behind: bytes) -> None:
        """STARTTLS with plain text in the same segment, then the handshake (RFC 3207 §4.1)."""
        self.send(b"STARTTLS\r\n" + behind)
        reply = self.read_reply()
        assert reply.code == 220, reply
        self._handshake()

    def login(self, name: str = "user@d1.test", password: str = "secret") -> None:
        self.expect(f"AUTH PLAIN {plain(name, password)}", "235")

    def envelope(self, recipients: Iterable[str] = (RECIPIENT,), sender: str = SENDER) -> None:
        """MAIL and every RCPT, all of which must be accepted."""
        self.expect(f"MAIL FROM:<{sender}>", "250")
        for recipient in recipients:
            self.expect(f"RCPT TO:<{recipient}>", "250")

    def data(self, message: bytes = MESSAGE, *, end: bytes = b".\r\n") -> Reply:
        """DATA, the message as given (no stuffing), the end marker, the final reply."""
        self.expect("DATA", "354")
        self.send(message + end)
        return self.read_reply()

    def deliver(
        self,
        recipients: Iterable[str] = (RECIPIENT,),
        *,
        sender: str = SENDER,
        message: bytes = MESSAGE,
    ) -> Reply:
        """A whole transaction; the final reply must be a 250."""
        self.envelope(recipients, sender)
        reply = self.data(message)
        assert reply.code == 250, reply
        return reply


def plain(name: str, password: str, *, authorize_as: str = "") -> str:
    """The initial response of AUTH PLAIN (RFC 4616 §2)."""
    return base64.b64encode(f"{authorize_as}\0{name}\0{password}".encode()).decode()
