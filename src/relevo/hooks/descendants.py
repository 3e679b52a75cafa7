"""Killing everything that a process has started, whatever it did to get away.

A launcher is a child subreaper (prctl(2)): whatever loses its parent below it becomes its child,
so the processes below it in the tree are exactly what its hooks have started, daemons in sessions
of their own included. They are stopped one after another until a look finds no new one, for a
stopped process forks no more, and only then killed.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")


def children(pid: int) -> list[int]:
    """Children of all threads of a process; [] when it is gone."""
    found: list[int] = []
    try:
        with os.scandir(_PROC / str(pid) / "task") as threads:
            for thread in threads:
                with suppress(OSError):
                    found += map(int, Path(thread.path, "children").read_bytes().split())
    except OSError:
        pass  # it has ended meanwhile
    return found


def count_descendants(root: int, limit: int) -> int:
    """How many processes are below `root`; more than `limit` is just more.

    Against a hook that forks without end every microsecond counts: what other threads than the
    first have started is left out.
    """
    count = 0
    waiting = [root]
    while waiting and count <= limit:
        pid = waiting.pop()
        try:
            descriptor = os.open(f"/proc/{pid}/task/{pid}/children", os.O_RDONLY)
        except OSError:
            continue
        try:
            below = os.read(descriptor, 65536).split()
        except OSError:
            below = []
        os.close(descriptor)
        count += len(below)
        waiting += map(int, below)
    return count


def count_threads_of(user: int) -> int:
    """All processes and threads of a user, as RLIMIT_NPROC counts them."""
    count = 0
    with os.scandir(_PROC) as entries:
        for entry in entries:
            if not entry.name.isdigit():
                continue
            with suppress(OSError):  # it has ended meanwhile
                if entry.stat().st_uid == user:
                    stat = Path(entry.path, "stat").read_bytes()
                    count += int(stat.rpartition(b")")[2].split()[17])
    return count


def descendants(root: int) -> dict[int, int]:
    """Process to parent for what is below `root`."""
    found: dict[int, int] = {}
    waiting = [root]
    while waiting:
        parent = waiting.pop()
        for child in children(parent):
            if child not in found:
                found[child] = parent
                waiting.append(child)
    return found


def kill_descendants(root: int, *, spare: frozenset[int] = frozenset(), patience: float) -> bool:
    """Kill and reap everything below `root`, the calling process; True when nothing is left.

    `spare` are direct children that are left alone, with all below them. Gives up after
    `patience` seconds.
    """
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        stopped: set[int] = set()
        while True:
            alive = _below(root, spare)
            new = alive.keys() - stopped
            for pid in new:
                _send(pid, {alive[pid], root}, signal.SIGSTOP)
            stopped |= new
            if not new or time.monotonic() > deadline:
                break
        for pid, parent in _below(root, spare).items():
            _send(pid, {parent, root}, signal.SIGKILL)
        if not _reap(root, spare, min(deadline, time.monotonic() + 0.5)):
            return True
    return False


def _below(root: int, spare: frozenset[int]) -> dict[int, int]:
    found: dict[int, int] = {}
    for child in children(root):
        if child not in spare:
            found[child] = root
            found.update(descendants(child))
    return found


def _send(pid: int, parents: set[int], number: signal.Signals) -> None:
    """Signal the process unless its number has come to mean another one since it was seen."""
    with suppress(OSError):
        descriptor = os.pidfd_open(pid)
        try:
            if _parent(pid) in parents:
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)


def _parent(pid: int) -> int:
    try:
        stat = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return -1
    return int(stat.rpartition(b")")[2].split()[1])


def _reap(root: int, spare: frozenset[int], deadline: float) -> bool:
    """Wait for killed children; True while some are left."""
    pause = 0.0005
    while True:
        waited_for = [child for child in children(root) if child not in spare] if spare else [-1]
        left = False
        for child in waited_for:
            with suppress(ChildProcessError):
                while (pid := os.waitpid(child, os.WNOHANG)[0]) and child == -1:
                    pass
                left |= pid == 0
        if not left and not _below(root, spare):
            return False
        if time.monotonic() > deadline:
            return True
        time.sleep(pause)
        pause = min(pause * 2, 0.02)
