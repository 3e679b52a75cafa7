"""Measures inside a server process how long each callback holds the event loop.

Python imports this module at its start when its folder is on PYTHONPATH. asyncio's own loop only
(`server.loop = "asyncio"`): uvloop's handles are compiled; the callbacks are the same.

Counted is the time from a callback's begin to its end less the time in which the thread was ready
to run and the machine ran something else (run_delay of schedstat): what is left is computing and
waiting inside the callback. The longest and their number are kept in $RELEVO_LOOP_PROBE/<pid>.
As soon as there is a file `begin.now` in that folder, all is forgotten, once: what a server does
before it has work may not be what is measured.
"""

from __future__ import annotations

import asyncio
import asyncio.events
import os
import threading
import time
from pathlib import Path

FOLDER = Path(os.environ["RELEVO_LOOP_PROBE"])
BEGIN = FOLDER / "begin.now"
REPORT_EVERY = 1000


class Probe:
    """The measurements of one process; a forked child begins anew."""

    def __init__(self) -> None:
        self.pid = 0
        self.fd = -1
        self.longest = 0.0
        self.most_computing = 0.0
        self.count = 0
        self.what = ""
        self.has_begun = False

    def run_delay(self) -> float:
        """Seconds that this thread was ready and did not run, since it began."""
        if self.pid != os.getpid():
            self.__init__()  # type: ignore[misc]  # a fresh start, in the child of a fork
            self.pid = os.getpid()
            self.fd = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        return int(os.pread(self.fd, 100, 0).split()[1]) / 1e9

    def note(self, seconds: float, computing: float, callback: object) -> None:
        """One callback has ended; for so long its thread had a processor."""
        if not self.has_begun and BEGIN.exists():
            self.has_begun = True
            self.longest, self.most_computing, self.count = 0.0, 0.0, 0
            return
        self.count += 1
        is_more = seconds > self.longest
        if computing > self.most_computing:
            self.most_computing = computing
            is_more = True
        if seconds > self.longest:
            self.longest, self.what = seconds, name_of(callback)
        if is_more or self.count % REPORT_EVERY == 0:
            report = FOLDER / str(self.pid)
            report.with_suffix(".new").write_text(
                f"{self.count} {self.longest} {self.most_computing} {self.what}"
            )
            report.with_suffix(".new").rename(report)


def name_of(callback: object) -> str:
    """Of a task's step, that of its coroutine."""
    task = getattr(callback, "__self__", None)
    if isinstance(task, asyncio.Task):
        return f"{getattr(task.get_coro(), '__qualname__', '')} of {task.get_name()}"
    return str(getattr(callback, "__qualname__", repr(callback)))


PROBE = Probe()
run = asyncio.events.Handle._run


def timed_run(handle: asyncio.events.Handle) -> None:
    if threading.current_thread() is not threading.main_thread():
        run(handle)
        return
    callback = handle._callback  # type: ignore[attr-defined]  # gone once the handle has run
    delay = PROBE.run_delay()
    started, computed = time.perf_counter(), time.thread_time()
    run(handle)
    taken, computing = time.perf_counter() - started, time.thread_time() - computed
    PROBE.note(taken - (PROBE.run_delay() - delay), computing, callback)


asyncio.events.Handle._run = timed_run  # type: ignore[assignment, method-assign]  # what the probe is for
