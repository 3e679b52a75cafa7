"""Carries one plain SMTP client to a server over TLS, logged in; for clients that can do neither.

The client (Postfix's smtp-source) connects to `address` and gets the server's greeting; the octets
that it sends are kept. By then the tunnel has done STARTTLS or implicit TLS and AUTH itself.
"""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from enum import Enum
from types import TracebackType
from typing import Self

from harness.dialog import Dialog

READ_SIZE = 65536
TIMEOUT_S = 20.0


class Transport(Enum):
    """How the tunnel, or any client, reaches the server."""

    PLAIN = "plain"
    STARTTLS = "starttls"
    TLS = "tls"


class Tunnel:
    """Serves one connection."""

    def __init__(
        self, target: tuple[str, int], transport: Transport, login: tuple[str, str] | None = None
    ) -> None:
        self._target = target
        self._transport = transport
        self._login = login
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(TIMEOUT_S)
        self.address: tuple[str, int] = self._listener.getsockname()[:2]
        self.sent = b""
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        try:
            client, _ = self._listener.accept()
            with client, Dialog(self._target, tls=self._transport is Transport.TLS) as server:
                self._prepare(server)
                client.sendall(b"220 " + server.greeting.text.encode() + b"\r\n")
                self._carry(client, server.socket)
        except BaseException as error:  # the test looks at it
            self.failure = error

    def _prepare(self, server: Dialog) -> None:
        server.expect(250, "EHLO tunnel.test")
        if self._transport is Transport.STARTTLS:
            server.start_tls()
            server.expect(250, "EHLO tunnel.test")
        if self._login is not None:
            reply = server.log_in(*self._login)
            assert reply.code == 235, reply

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        back = threading.Thread(target=self._copy_back, args=(server, client), daemon=True)
        back.start()
        client.settimeout(TIMEOUT_S)
        with suppress(ConnectionResetError):  # smtp-source leaves before the reply to QUIT
            while data := client.recv(READ_SIZE):
                self.sent += data
                server.sendall(data)
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        back.join()

    @staticmethod
    def _copy_back(server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError, ssl.SSLError):
            while data := server.recv(READ_SIZE):
                client.sendall(data)

    def message(self) -> bytes:
        """What the client sent as its message, un-stuffed."""
        content = self.sent.partition(b"DATA\r\n")[2].partition(b"\r\n.\r\n")[0] + b"\r\n"
        return (b"\r\n" + content).replace(b"\r\n..", b"\r\n.")[2:]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.close()
        self._thread.join(TIMEOUT_S)
        if self.failure is not None:
            raise self.failure
