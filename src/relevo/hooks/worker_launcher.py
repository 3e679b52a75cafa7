"""A launcher whose hook is a persistent process that it lends to a worker of the server.

The worker asks once, gets the ends of the process's pipes, and then speaks with the process itself;
what it calls is no business of the launcher's, which sets limits, looks at the number of processes
and at memory, and cleans up. The socket of the request stays open while the process is lent:

- the launcher says `RETIRE` when the process has grown too large or hooks are being configured
  anew: it shall get no new call; and sends a `Report` when it has ended;
- the worker says `KILL` when the process broke the rules, and closes the socket when it needs it no
  more (or is gone itself): then the process has a moment to end by itself.

One process at a time is there to be called; those before it may still finish what they had.
"""

from __future__ import annotations

import array
import os
import select
import signal
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from relevo.hooks.descendants import count_descendants, kill_descendants
from relevo.hooks.launcher import Launcher, Stop
from relevo.hooks.running_call import IGNORED_HERE
from relevo.hooks.wire import KILL, LENT, RETIRE, How, Report, decode_request, encode_report
from relevo.hooks.worker_process import WorkerProcess

if TYPE_CHECKING:
    from relevo.hooks.wire import Request

_GRACE = 2.0  # seconds that a process has to end once it is not needed any more
_SHORT_LIFE = 1.0  # seconds; whoever ends sooner is started again after as many
_LOOK_EVERY = 0.5  # seconds between looks at memory and at the number of processes
_CLEAN_UP = 5.0
_LAST_MOMENT = 0.05
_FEW_OCTETS = 64


@dataclass(slots=True, eq=False)
class _Lent:
    """A process, and the socket to whom it is lent."""

    process: WorkerProcess
    control: socket.socket | None  # None: given back
    max_processes: int
    kill_at: float = 0.0  # 0: not decided

    def tell(self, data: bytes) -> None:
        if self.control is not None:
            with suppress(OSError):  # the worker is gone
                self.control.send(data, socket.MSG_DONTWAIT)


class WorkerLauncher(Launcher):
    """The life of one such launcher, in its own process."""

    def run(self) -> None:
        """Lend processes until told to stop."""
        self.start()
        self._poller = select.epoll()
        self._current: _Lent | None = None
        self._all: set[_Lent] = set()
        self._exits: dict[int, _Lent] = {}  # by a descriptor that says that it has ended
        self._start_at = 0.0
        self._short_lives = 0  # in a row
        self._look_at = 0.0
        self._takes_requests = False
        self._has_retired = False
        with suppress(Stop):
            while not self._is_stopping or self._all:
                self._regulate()
                self._is_waiting = not self._all
                happened = self._poller.poll(self._patience())
                self._is_waiting = False
                for descriptor, _ in happened:
                    self._on_ready(descriptor)
                self._look_around(time.monotonic())
        kill_descendants(os.getpid(), patience=_CLEAN_UP)

    def _regulate(self) -> None:
        """Take requests only while no process is lent to be called.

        While a program that keeps ending at once may not be started, requests wait.
        """
        if self._start_at and time.monotonic() >= self._start_at:
            self._start_at = 0.0
        if self._is_stopping and not self._has_retired:
            self._has_retired = True
            for lent in self._all:
                lent.tell(RETIRE)
        wanted = self._current is None and not self._is_stopping and not self._start_at
        if wanted is not self._takes_requests:
            descriptor = self._requests.fileno()
            if wanted:
                self._poller.register(descriptor, select.EPOLLIN | select.EPOLLEXCLUSIVE)
            else:
                self._poller.unregister(descriptor)
            self._takes_requests = wanted

    def _patience(self) -> float:
        """Seconds until something is due; -1: for ever."""
        due = [lent.kill_at for lent in self._all if lent.kill_at]
        if self._start_at:
            due.append(self._start_at)
        if self._all:
            due.append(self._look_at)
        return max(0.0, min(due) - time.monotonic()) if due else -1

    def _on_ready(self, descriptor: int) -> None:
        if descriptor == self._requests.fileno():
            self._take_request()
            return
        for lent in self._all:
            if lent.control is not None and lent.control.fileno() == descriptor:
                self._listen(lent, lent.control)
                return
            if self._exits.get(descriptor) is lent:
                self._end(lent, "")
                return

    # -- lending

    def _take_request(self) -> None:
        try:
            packet, files = self.receive()
        except BlockingIOError:  # another one was faster
            return
        if not files:
            return
        control = socket.socket(fileno=files[0])
        for descriptor in files[1:]:
            os.close(descriptor)
        try:
            report = self._lend(decode_request(packet), control)
        except (msgspec.MsgspecError, IndexError) as error:
            report = Report(How.BROKEN, detail=f"unreadable request: {error}")
        except OSError as error:
            report = Report(How.NOT_STARTED, detail=error.strerror or str(error))
        if report is not None:
            with suppress(OSError):
                control.send(encode_report(report))
            control.close()

    def _lend(self, request: Request, control: socket.socket) -> Report | None:
        """Start the process and hand its pipes over, or say why not. Raises OSError."""
        if (refusal := self.refusal(request, control.fileno(), time.monotonic())) is not None:
            return refusal
        process = WorkerProcess(
            request.words,
            request.environment,
            cpu_s=self._settings.limits.cpu,
            ignored=IGNORED_HERE,
        )
        lent = _Lent(process, control, request.max_processes)
        self._all.add(lent)
        ends = array.array("i", process.lent)
        with suppress(OSError):  # the worker is gone: its socket says so at once
            control.sendmsg([LENT], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, ends)])
        process.close()
        self._current, self._start_at = lent, 0.0
        exit_ = os.pidfd_open(process.pid)
        self._exits[exit_] = lent
        self._poller.register(exit_, select.EPOLLIN)
        self._poller.register(control.fileno(), select.EPOLLIN)
        self._place.take()
        return None

    def _listen(self, lent: _Lent, control: socket.socket) -> None:
        try:
            said = control.recv(_FEW_OCTETS, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if said == KILL:
            self._end(lent, "")
        elif said == RETIRE:
            self._retire(lent)
        elif not said:
            self._take_back(lent)

    def _retire(self, lent: _Lent) -> None:
        """It gets no new call, and another one may be lent."""
        if lent is self._current:
            self._current = None
            self._place.free()

    def _take_back(self, lent: _Lent) -> None:
        """Nobody has it any more."""
        self._retire(lent)
        if lent.control is not None:
            self._poller.unregister(lent.control.fileno())
            lent.control.close()
            lent.control = None
            lent.kill_at = time.monotonic() + _GRACE

    # -- what becomes of a process

    def _end(self, lent: _Lent, detail: str, how: How = How.BROKEN) -> None:
        """The process is over, or is now."""
        process = lent.process
        deadline = time.monotonic() + _LAST_MOMENT  # its output was closed by its end
        while not process.has_ended() and (left := deadline - time.monotonic()) > 0:
            signal.sigtimedwait((signal.SIGCHLD,), left)
        process.kill()
        self._all.discard(lent)
        for descriptor in [fd for fd, each in self._exits.items() if each is lent]:
            self._poller.unregister(descriptor)
            os.close(descriptor)
            del self._exits[descriptor]
        if lent is self._current:
            now = time.monotonic()
            is_short = now - process.started < _SHORT_LIFE
            self._short_lives = self._short_lives + 1 if is_short else 0
            self._start_at = now + (_SHORT_LIFE if self._short_lives > 1 else 0.0)
        self._retire(lent)
        living = frozenset(each.process.pid for each in self._all)
        kill_descendants(os.getpid(), spare=living, patience=_CLEAN_UP)
        detail = detail or f"its worker process is gone: {process.how_it_ended() or 'killed'}"
        lent.tell(encode_report(Report(how, detail=detail)))
        if lent.control is not None:
            self._poller.unregister(lent.control.fileno())
            lent.control.close()

    def _look_around(self, now: float) -> None:
        """Processes that may go, memory, and how many there are."""
        for lent in [each for each in self._all if each.kill_at and now >= each.kill_at]:
            self._end(lent, "")
        if now < self._look_at or not self._all:
            return
        self._look_at = now + _LOOK_EVERY
        current = self._current
        if current is None:
            return
        most = current.max_processes + len(self._all) - 1
        if count_descendants(os.getpid(), most) > most:
            self._end(current, f"over {current.max_processes}", How.TOO_MANY_PROCESSES)
        elif 0 < self._settings.recycle_above < current.process.resident():
            current.tell(RETIRE)
            self._retire(current)
