"""Connections that did EHLO and then nothing: python idle_crowd.py HOST PORT COUNT plain|starttls.

A program of its own, so that its memory and descriptors are not those of who measures. Prints
"standing COUNT" once all of them are, and keeps them until it is killed. The sources are spread
over 127.0.0.0/8, so that no limit for one source is met.
"""

from __future__ import annotations

import resource
import signal
import socket
import ssl
import sys

A_SOURCE = 200  # connections from one address


def reply(connection: socket.socket) -> bytes:
    """One reply of the server, however many lines it has."""
    octets = b""
    while not (octets.endswith(b"\n") and octets[:-1].rsplit(b"\n", 1)[-1][3:4] == b" "):
        more = connection.recv(4096)
        if not more:
            raise ConnectionError(f"closed after {octets!r}")
        octets += more
    return octets


def say(connection: socket.socket, line: bytes, code: bytes) -> None:
    connection.sendall(line + b"\r\n")
    answer = reply(connection)
    if not answer.startswith(code):
        raise ConnectionError(f"{line!r}: {answer!r}")


def stand(host: str, port: int, number: int, context: ssl.SSLContext | None) -> socket.socket:
    """One connection after its last EHLO."""
    source = f"127.0.{2 + number // A_SOURCE // 250}.{1 + number // A_SOURCE % 250}"
    made = socket.socket()
    made.settimeout(60)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT: many to a source
    made.bind((source, 0))
    made.connect((host, port))
    reply(made)
    say(made, b"EHLO idle.test", b"250")
    if context is not None:
        say(made, b"STARTTLS", b"220")
        made = context.wrap_socket(made)
        say(made, b"EHLO idle.test", b"250")
    return made


def main(host: str, port: int, count: int, how: str) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    context = None
    if how == "starttls":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    crowd = [stand(host, port, number, context) for number in range(count)]
    print("standing", len(crowd), flush=True)
    signal.pause()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
