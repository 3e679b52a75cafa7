"""Descriptors that go from one program to the next."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from relevo.service.handover import VARIABLE, Handover

TAKER = """
import os
from relevo.service.handover import Handover
handover = Handover.take(os.environ)
assert handover is not None and "RELEVO_HANDOVER" not in os.environ
assert not any(os.get_inheritable(each) for each in handover.descriptors)
[listener] = handover.open_sockets()["127.0.0.1:25"]
print(listener.accept()[0].recv(100).decode(), handover.data_dir)
"""


def test_the_next_program_accepts_who_has_connected_before() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
        open(os.devnull) as other,  # noqa: PTH123 - any descriptor
    ):
        client.sendall(b"hello")
        handover = Handover(
            "/data", other.fileno(), other.fileno(), {"127.0.0.1:25": (listener.fileno(),)}
        )
        with handover.inheritable():
            result = subprocess.run(
                [sys.executable, "-c", TAKER],
                env=handover.environment(os.environ),
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
                close_fds=False,
            )
        assert result.stdout == "hello /data\n", result.stderr
        assert not os.get_inheritable(listener.fileno())


def test_an_ordinary_start_has_none() -> None:
    assert Handover.take({}) is None
    assert Handover.take({VARIABLE: ""}) is None
