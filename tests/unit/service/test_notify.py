"""What the service manager hears, over a socket with a path or an abstract name."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from relevo.service.notify import Notifier

ABSTRACT = f"@relevo-test-{os.getpid()}"


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    name = ABSTRACT if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + name[1:] if name.startswith("@") else name)
        sock.setblocking(False)
        yield sock, name


def heard(sock: socket.socket) -> list[str]:
    return sock.recv(4096).decode().split("\n")


def test_what_happens_is_told(manager: tuple[socket.socket, str]) -> None:
    sock, name = manager
    notifier = Notifier({"NOTIFY_SOCKET": name})
    notifier.ready("2 workers")
    assert heard(sock) == ["READY=1", "STATUS=2 workers"]
    before = time.monotonic_ns() // 1000
    notifier.reloading()
    word, clock = heard(sock)
    assert word == "RELOADING=1"
    assert before <= int(clock.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
    notifier.stopping("draining")
    assert heard(sock) == ["STOPPING=1", "STATUS=draining"]


def test_a_sign_of_life_comes_twice_in_the_time_and_only_when_all_is_well(
    manager: tuple[socket.socket, str],
) -> None:
    sock, name = manager
    notifier = Notifier({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "10000000"})
    notifier.give_sign(100.0, is_well=True)
    assert heard(sock) == ["WATCHDOG=1"]
    assert notifier.next_sign() == 105.0
    notifier.give_sign(104.9, is_well=True)
    notifier.give_sign(105.0, is_well=False)
    with pytest.raises(BlockingIOError):
        sock.recv(100)
    notifier.give_sign(110.0, is_well=True)
    assert heard(sock) == ["WATCHDOG=1"]


@pytest.mark.parametrize(
    "environ",
    [
        {"WATCHDOG_USEC": "10000000"},
        {"NOTIFY_SOCKET": "/nowhere"},
        {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "x"},
        {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"},
    ],
)
def test_nobody_waits_for_a_sign(environ: dict[str, str]) -> None:
    assert Notifier(environ).next_sign() is None


def test_a_manager_that_is_not_there_hurts_nobody() -> None:
    notifier = Notifier({"NOTIFY_SOCKET": "/nowhere/at/all"})
    notifier.ready("")
    Notifier({}).ready("")
