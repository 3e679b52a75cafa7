"""A command ends with the process that started it, however that one ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.waiting import wait_for
from relevo.delivery.tether import Tether

# starts a command whose group has two processes, prints their ids, and waits
STARTER = """
import subprocess, sys, time
from relevo.delivery.tether import Tether
tether = Tether()
command = subprocess.Popen(
    ["/bin/sh", "-c", "sleep 60 & echo $$ $!; wait"],
    start_new_session=True,
    pass_fds=(tether.end,),
    stdout=subprocess.PIPE,
)
tether.tie(command.pid)
sys.stdout.buffer.write(command.stdout.readline())  # not before it is tied
sys.stdout.flush()
time.sleep(60)
"""


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_whole_group_ends_with_a_starter_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", STARTER], stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        pids = [int(word) for word in starter.stdout.readline().split()]
        assert all(map(is_running, pids))
        starter.send_signal(signal.SIGKILL)
        starter.wait()
        wait_for(lambda: not any(map(is_running, pids)), timeout_s=5, what="their end")


def count_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_tether_leaves_no_descriptor_open() -> None:
    before = count_descriptors()
    unused, used = Tether(), Tether()
    with subprocess.Popen(["/bin/true"], start_new_session=True, pass_fds=(used.end,)) as command:
        used.tie(command.pid)
        command.wait()
    for tether in (unused, used):
        tether.cut()
        tether.cut()
    assert count_descriptors() == before


def test_a_command_that_runs_is_killed_when_the_tether_is_cut() -> None:
    tether = Tether()
    with subprocess.Popen(
        ["/bin/sleep", "60"], start_new_session=True, pass_fds=(tether.end,)
    ) as command:
        tether.tie(command.pid)
        tether.cut()
        assert command.wait(5) == -signal.SIGKILL


def test_an_end_that_was_closed_cannot_be_tied() -> None:
    tether = Tether()
    tether.cut()
    with pytest.raises((OSError, ValueError)):
        tether.tie(os.getpid())
