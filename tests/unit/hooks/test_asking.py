"""One request out and messages back, the compiled way and in Python."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from relevo.hooks import asking
from relevo.hooks.asking import Asking
from relevo.hooks.prompt import library


@pytest.fixture(params=["compiled", "python"])
def ways(request: pytest.FixtureRequest) -> Asking:
    if request.param == "python":
        return Asking(asking._send, asking._receive, os.close)
    found = library(kind=ctypes.PyDLL)
    assert found is not None
    return asking.compiled(found)


@pytest.fixture
def pool() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A pool's socket at a worker, and at its launchers."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


Pool = tuple[socket.socket, socket.socket]


def open_now() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_request_goes_out_and_messages_come_back(ways: Asking, pool: Pool) -> None:
    ours, theirs = pool
    before = open_now()
    end = ways.send(ours.fileno(), b"a\0b", [])
    packet, [answer], _, _ = socket.recv_fds(theirs, 100, 3)
    assert packet == b"a\0b"
    assert not os.get_inheritable(end)
    with pytest.raises(BlockingIOError):
        ways.receive(end)
    os.write(answer, b"first\0")
    os.write(answer, b"x" * 100_000)
    assert [ways.receive(end), ways.receive(end)] == [b"first\0", b"x" * 100_000]
    os.close(answer)
    assert ways.receive(end) == b""
    ways.close(end)
    assert open_now() == before


def test_the_launcher_sees_that_the_caller_has_gone(ways: Asking, pool: Pool) -> None:
    ours, theirs = pool
    ways.close(ways.send(ours.fileno(), b"a", []))
    _, [answer], _, _ = socket.recv_fds(theirs, 100, 3)
    with pytest.raises(BrokenPipeError):
        os.write(answer, b"late")
    os.close(answer)


def test_files_go_with_it(ways: Asking, pool: Pool, tmp_path: Path) -> None:
    ours, theirs = pool
    files = []
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
        files.append(os.open(tmp_path / name, os.O_RDONLY))
    end = ways.send(ours.fileno(), b"a", files)
    _, [answer, *passed], _, _ = socket.recv_fds(theirs, 100, 3)
    assert [os.read(each, 10) for each in passed] == [b"one", b"two"]
    for descriptor in (end, answer, *passed, *files):
        os.close(descriptor)


def test_a_full_socket_would_wait_and_leaves_nothing_open(ways: Asking, pool: Pool) -> None:
    ours, _ = pool
    ends: list[int] = []

    def send_on() -> None:
        while True:
            ends.append(ways.send(ours.fileno(), b"x" * 1000, []))

    with pytest.raises(BlockingIOError):
        send_on()
    before = open_now()
    with pytest.raises(BlockingIOError):
        ways.send(ours.fileno(), b"x" * 1000, [])
    assert open_now() == before
    for end in ends:
        os.close(end)


def test_a_socket_that_nobody_reads_is_an_error(ways: Asking, pool: Pool) -> None:
    ours, theirs = pool
    theirs.close()
    with pytest.raises(BrokenPipeError):
        ways.send(ours.fileno(), b"a", [])
