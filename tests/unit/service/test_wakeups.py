"""The supervisor's loop: descriptors, signals, times, and the border for errors."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator

import pytest

from relevo.service.wakeups import Wakeups


@pytest.fixture
def wakeups() -> Iterator[Wakeups]:
    before = signal.getsignal(signal.SIGUSR2)
    wakeups = Wakeups()
    yield wakeups
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGUSR2, before)
    wakeups.leave()


def test_a_signal_is_taken_in_the_wait(wakeups: Wakeups) -> None:
    heard: list[signal.Signals] = []
    wakeups.watch_signals([signal.SIGUSR2], heard.append)
    os.kill(os.getpid(), signal.SIGUSR2)
    os.kill(os.getpid(), signal.SIGUSR2)
    assert heard == []
    wakeups.wait(time.monotonic() + 10)
    assert heard == [signal.SIGUSR2], "two that wait are one"


def test_the_wait_has_an_end(wakeups: Wakeups) -> None:
    started = time.monotonic()
    wakeups.wait(started + 0.01)
    wakeups.wait(started - 5)
    assert 0.01 <= time.monotonic() - started < 5


def test_an_error_ends_nothing(wakeups: Wakeups, caplog: pytest.LogCaptureFixture) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"x")
        wakeups.watch(ours, lambda: 1 / 0)
        wakeups.wait(None)
        assert "ZeroDivisionError" in caplog.text
        wakeups.forget(ours)


def test_an_owned_descriptor_is_closed(wakeups: Wakeups) -> None:
    read, write = os.pipe()
    seen: list[bytes] = []
    wakeups.own(read, lambda: seen.append(os.read(read, 10)))
    os.write(write, b"r")
    wakeups.wait(None)
    assert seen == [b"r"]
    wakeups.disown(read)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.read(read, 1)
    os.close(write)
