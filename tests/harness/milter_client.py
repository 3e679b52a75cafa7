"""The MTA's side of one message at a milter (sendmail's protocol, version 6), for tests.

Only what is needed to have a filter add header fields: no macros, one recipient.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass, field

VERSION = 6
ADD_HEADERS, CHANGE_HEADERS, QUARANTINE = 0x01, 0x10, 0x20
BODY_PIECE = 65535


class MilterRefused(Exception):
    """The filter did not accept the message."""


@dataclass
class Filtered:
    """What the filter wants: fields for the top of the header, in their final order."""

    inserted: list[bytes] = field(default_factory=list)


class MilterClient:
    """One connection, good for one message."""

    def __init__(self, address: tuple[str, int] | str, timeout_s: float = 20) -> None:
        """`address` is a host and a port, or the path of a socket."""
        if isinstance(address, str):
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.settimeout(timeout_s)
            self._socket.connect(address)
        else:
            self._socket = socket.create_connection(address, timeout_s)
        self._file = self._socket.makefile("rb")

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def filter(self, message: bytes, sender: str, recipient: str) -> Filtered:
        """Hand a message over. Raises MilterRefused."""
        self._send(b"O", struct.pack("!III", VERSION, ADD_HEADERS | CHANGE_HEADERS | QUARANTINE, 0))
        self._receive()
        self._ask(b"C", b"localhost\0" + b"4" + struct.pack("!H", 25) + b"127.0.0.1\0")
        self._ask(b"H", b"localhost\0")
        self._ask(b"M", f"<{sender}>\0".encode())
        self._ask(b"R", f"<{recipient}>\0".encode())
        head, _, body = message.partition(b"\r\n\r\n")
        for raw in head.replace(b"\r\n ", b"\n ").replace(b"\r\n\t", b"\n\t").split(b"\r\n"):
            name, _, value = raw.partition(b":")
            self._ask(b"L", name + b"\0" + value.removeprefix(b" ") + b"\0")
        self._ask(b"N", b"")
        for start in range(0, len(body), BODY_PIECE):
            self._ask(b"B", body[start : start + BODY_PIECE])
        return self._end()

    def _end(self) -> Filtered:
        self._send(b"E", b"")
        filtered = Filtered()
        while True:
            code, data = self._receive()
            if code == b"i":
                name, value = data[4:].split(b"\0")[:2]
                text = value.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
                filtered.inserted.insert(0, name + b": " + text.lstrip(b" ") + b"\r\n")
            elif code in {b"a", b"c"}:
                return filtered
            elif code not in {b"h", b"m", b"p"}:
                raise MilterRefused(f"{code!r} {data!r}")

    def _ask(self, command: bytes, data: bytes) -> None:
        self._send(command, data)
        code, answer = self._receive()
        if code not in {b"c", b"a"}:
            raise MilterRefused(f"{command!r}: {code!r} {answer!r}")

    def _send(self, command: bytes, data: bytes) -> None:
        self._socket.sendall(struct.pack("!I", len(data) + 1) + command + data)

    def _receive(self) -> tuple[bytes, bytes]:
        (length,) = struct.unpack("!I", self._file.read(4))
        data = self._file.read(length)
        return data[:1], data[1:]
