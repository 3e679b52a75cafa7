"""A server that answers once with what the test says, and keeps what it was asked."""

from __future__ import annotations

import asyncio
import inspect
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Protocol

import pytest

PATIENCE_S = 5.0


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Coroutine functions are tests too."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    asyncio.run(pyfuncitem.obj(**arguments))
    return True


class Scripted:
    """Connections one after the other; each reads to `until`, then hears `answer`."""

    def __init__(self, answer: bytes, until: bytes, *, closes: bool) -> None:
        self.asked: list[bytes] = []
        self._answer, self._until, self._closes = answer, until, closes
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._kept: list[socket.socket] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                self._serve(client)

    def _serve(self, client: socket.socket) -> None:
        client.settimeout(PATIENCE_S)
        data = b""
        while not (self._until and self._until in data) and (piece := client.recv(65536)):
            data += piece
        self.asked.append(data)
        client.sendall(self._answer)
        if self._closes:
            client.close()
        else:
            self._kept.append(client)

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(PATIENCE_S)
        for client in self._kept:
            client.close()


class Serve(Protocol):
    """Starts one: `until` is the end of a question; empty: its sender says that it is over."""

    def __call__(self, answer: bytes, *, until: bytes = b"", closes: bool = True) -> Scripted: ...


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:

        def start(answer: bytes, *, until: bytes = b"", closes: bool = True) -> Scripted:
            server = Scripted(answer, until, closes=closes)
            stack.callback(server.close)
            return server

        yield start


def http(body: bytes, status: str = "200 OK") -> bytes:
    """A response."""
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body)
