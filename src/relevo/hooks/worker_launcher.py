"""A launcher whose hook is a persistent process: many calls in flight, told apart by a number.

Each launcher of such a pool keeps one process and passes it up to `in_flight` calls; when all are
in use, requests wait in the pool's socket, so the caps hold over the whole server. A process that
dies fails the calls that it had, and the next call starts another one. One that misses a deadline,
has grown too large, or whose program was replaced gets no new call: it may finish what it has,
then its stdin is closed, and it is killed if that does not end it.
"""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from relevo.hooks.descendants import count_descendants, kill_descendants
from relevo.hooks.launcher import IGNORED_HERE, Launcher, Stop
from relevo.hooks.settings import PYTHON_WORDS
from relevo.hooks.wire import NOTICE_AFTER, STARTED, How, Report, decode_request, encode_report
from relevo.hooks.worker_process import WorkerBroken, WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relevo.hooks.wire import Request

_GRACE = 2.0  # seconds that a process has to end once its stdin is closed
_SHORT_LIFE = 1.0  # seconds; whoever ends sooner is started again after as many
_LOOK_EVERY = 0.5  # seconds between looks at memory and at the number of processes
_CLEAN_UP = 5.0
_LAST_MOMENT = 0.05

Signature = tuple[int, int, int, int]


@dataclass(slots=True)
class _Call:
    """A call that a process has."""

    process: WorkerProcess
    answer: int  # descriptor, ours
    began: float
    deadline: float
    timeout: float
    notice_at: float  # 0: it was announced
    max_processes: int


class WorkerLauncher(Launcher):
    """The life of one such launcher, in its own process."""

    def run(self) -> None:
        """Take requests until told to stop."""
        self.start()
        self._poller = select.epoll()
        self._process: WorkerProcess | None = None  # that gets new calls
        self._key: tuple[object, ...] = ()
        self._old: dict[WorkerProcess, float] = {}  # gets none; when it is killed, 0: not yet
        self._by_descriptor: dict[int, WorkerProcess] = {}
        self._writing: set[int] = set()
        self._calls: dict[int, _Call] = {}
        self._number = 0
        self._start_at = 0.0
        self._short_lives = 0  # in a row
        self._look_at = 0.0
        self._takes_requests = False
        with suppress(Stop):
            while not self._is_stopping or self._calls:
                self._regulate()
                self._is_waiting = not self._calls
                happened = self._poller.poll(self._patience())
                self._is_waiting = False
                for descriptor, _ in happened:
                    self._on_ready(descriptor)
                self._look_around(time.monotonic())
        for process in (self._process, *self._old):
            if process is not None:
                process.close_input()
        kill_descendants(os.getpid(), patience=_CLEAN_UP)

    def _regulate(self) -> None:
        """Take requests only while there is room, and write only where something waits.

        While a program that keeps ending at once may not be started, its calls wait.
        """
        if self._start_at and time.monotonic() >= self._start_at:
            self._start_at = 0.0
        wanted = (
            len(self._calls) < self._settings.in_flight
            and not self._is_stopping
            and not self._start_at
        )
        if wanted is not self._takes_requests:
            descriptor = self._requests.fileno()
            if wanted:
                self._poller.register(descriptor, select.EPOLLIN | select.EPOLLEXCLUSIVE)
            else:
                self._poller.unregister(descriptor)
            self._takes_requests = wanted
        for process in (self._process, *self._old):
            if process is None or process.input < 0:
                continue
            if process.wants_to_write and process.input not in self._writing:
                self._poller.register(process.input, select.EPOLLOUT)
                self._by_descriptor[process.input] = process
                self._writing.add(process.input)
            elif not process.wants_to_write and process.input in self._writing:
                self._stop_writing(process)

    def _stop_writing(self, process: WorkerProcess) -> None:
        self._poller.unregister(process.input)
        self._writing.discard(process.input)
        self._by_descriptor.pop(process.input, None)

    def _patience(self) -> float:
        """Seconds until something is due; -1: for ever."""
        due = [call.notice_at or call.deadline for call in self._calls.values()]
        due += [at for at in self._old.values() if at]
        if self._start_at:
            due.append(self._start_at)
        if self._calls or self._process is not None:
            due.append(self._look_at)
        return max(0.0, min(due) - time.monotonic()) if due else -1

    def _on_ready(self, descriptor: int) -> None:
        if descriptor == self._requests.fileno():
            self._take_request()
            return
        process = self._by_descriptor.get(descriptor)
        if process is None:
            return
        if descriptor == process.input:
            process.write()
        elif descriptor == process.error_output:
            if not process.read_errors():
                self._poller.unregister(descriptor)
                self._by_descriptor.pop(descriptor)
        else:
            self._read(process)

    # -- calls

    def _take_request(self) -> None:
        try:
            packet, files = self.receive()
        except BlockingIOError:  # another one was faster
            return
        if not files:
            return
        try:
            report = self._begin(decode_request(packet), files)
        except (msgspec.MsgspecError, IndexError) as error:
            report = Report(How.BROKEN, detail=f"unreadable request: {error}")
        except OSError as error:
            report = Report(How.NOT_STARTED, detail=error.strerror or str(error))
        if report is not None:
            _send(files[0], encode_report(report))
            for descriptor in files:
                os.close(descriptor)

    def _begin(self, request: Request, files: list[int]) -> Report | None:
        """Pass the call on, whose descriptors are ours then; or why that cannot be."""
        now = time.monotonic()
        if (refusal := self.refusal(request, files[0], now)) is not None:
            return refusal
        passed = files[:0:-1]
        inputs = [passed.pop() if octets is None else octets for octets in request.inputs]
        message, context = inputs[0], inputs[1]
        process = self._process_for(request)
        if isinstance(context, int):
            context = _whole(context)
        self._number += 1
        process.max_output = request.max_output
        process.send(self._number, context, message)
        for descriptor in files[1:]:
            if descriptor != message:
                os.close(descriptor)
        if not self._calls:
            self._place.take()
        self._calls[self._number] = _Call(
            process, files[0], now, now + request.timeout, request.timeout,
            now + NOTICE_AFTER, request.max_processes,
        )  # fmt: skip
        process.write()
        return None

    def _process_for(self, request: Request) -> WorkerProcess:
        """The process of this program, started if need be. Raises OSError."""
        words = request.words
        key = (tuple(words), request.environment, _signature(words[0]), _file_of(words))
        if self._process is not None and key == self._key:
            return self._process
        if self._process is not None:
            self._retire(self._process)
        process = WorkerProcess(
            request.words,
            request.environment,
            cpu_s=self._settings.limits.cpu,
            ignored=IGNORED_HERE,
        )
        self._process, self._key, self._start_at = process, key, 0.0
        for descriptor in (process.output, process.error_output):
            self._poller.register(descriptor, select.EPOLLIN)
            self._by_descriptor[descriptor] = process
        return process

    def _finish(self, number: int, report: Report) -> None:
        call = self._calls.pop(number)
        report.seconds = time.monotonic() - call.began
        _send(call.answer, encode_report(report))
        os.close(call.answer)
        if not self._calls:
            self._place.free()

    # -- what a process does

    def _read(self, process: WorkerProcess) -> None:
        try:
            answers = process.read()
        except WorkerBroken as error:
            self._end(process, How.BROKEN, str(error))
            return
        if answers is None:
            self._end(process, How.BROKEN, "")
            return
        for answer in answers:
            process.read_errors()
            report = Report(How.EXITED, output=answer.verdict, errors=process.take_errors())
            if answer.error:
                report.how, report.detail = How.BROKEN, f"it failed: {answer.error}"
            self._finish(answer.number, report)

    def _end(self, process: WorkerProcess, how: How, detail: str) -> None:
        """The process is over, or is now; its calls have failed."""
        deadline = time.monotonic() + _LAST_MOMENT  # its output was closed by its end
        while not process.has_ended() and (left := deadline - time.monotonic()) > 0:
            signal.sigtimedwait((signal.SIGCHLD,), left)
        process.kill()
        self._forget(process)
        living = {each.pid for each in (self._process, *self._old) if each is not None}
        kill_descendants(os.getpid(), spare=frozenset(living), patience=_CLEAN_UP)
        detail = detail or f"its worker process is gone: {process.how_it_ended() or 'killed'}"
        errors = process.take_errors()
        for number in [n for n, call in self._calls.items() if call.process is process]:
            self._finish(number, Report(how, detail=detail, errors=errors))
        process.close()

    def _forget(self, process: WorkerProcess) -> None:
        while process.read_errors() and len(process.errors) and _has_more(process.error_output):
            pass
        if process is self._process:
            self._process = None
            now = time.monotonic()
            is_short = now - process.started < _SHORT_LIFE
            self._short_lives = self._short_lives + 1 if is_short else 0
            self._start_at = now + (_SHORT_LIFE if self._short_lives > 1 else 0.0)
        self._old.pop(process, None)
        for descriptor in (process.input, process.output, process.error_output):
            if self._by_descriptor.pop(descriptor, None) is not None:
                with suppress(OSError):
                    self._poller.unregister(descriptor)
                self._writing.discard(descriptor)

    def _retire(self, process: WorkerProcess) -> None:
        """It gets no new call."""
        if process is self._process:
            self._process = None
            self._start_at = 0.0
        self._old.setdefault(process, 0.0)

    def _look_around(self, now: float) -> None:
        """Deadlines, announcements, memory, and processes that may go."""
        for number, call in list(self._calls.items()):
            if now >= call.deadline:
                call.process.give_up(number)
                self._retire(call.process)
                call.process.read_errors()
                errors = call.process.take_errors()
                self._finish(number, Report(How.TIMED_OUT, errors=errors))
            elif call.notice_at and now >= call.notice_at:
                call.notice_at = 0.0
                _send(call.answer, STARTED)
        if now >= self._look_at:
            self._look_at = now + _LOOK_EVERY
            self._check_size()
        for process, kill_at in list(self._old.items()):
            if process.calls:
                continue
            if not kill_at:
                if process.input in self._writing:
                    self._stop_writing(process)
                process.close_input()
                self._old[process] = now + _GRACE
            elif now >= kill_at:
                self._end(process, How.BROKEN, "")

    def _check_size(self) -> None:
        process = self._process
        if process is None:
            return
        if 0 < self._settings.recycle_above < process.resident():
            self._retire(process)
        if not self._calls:
            return
        most = min(call.max_processes for call in self._calls.values())
        if count_descendants(os.getpid(), most + len(self._old)) > most + len(self._old):
            self._end(process, How.TOO_MANY_PROCESSES, f"over {most}")


def _signature(path: bytes) -> Signature:
    """Differs once the program does. Raises OSError."""
    status = os.stat(path)  # noqa: PTH116 - a hot path
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def _file_of(words: Sequence[bytes]) -> Signature | None:
    """The same of the file that a Python interpreter is to run. Raises OSError."""
    at = len(PYTHON_WORDS)
    if len(words) <= at or [word.decode("utf-8", "replace") for word in words[1:at]] != list(
        PYTHON_WORDS[1:]
    ):
        return None
    return _signature(words[at])


def _whole(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def _has_more(descriptor: int) -> bool:
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(0))


def _send(answer: int, data: bytes) -> None:
    with suppress(OSError):  # the caller has gone
        os.write(answer, data)
