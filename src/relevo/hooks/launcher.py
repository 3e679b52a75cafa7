"""A launcher: a small process that runs one hook at a time, and leaves nothing of it.

Its limits, working directory and user are set once and inherited by every hook. A hook runs in a
process group of its own with stdin from a file, stdout and stderr into pipes, and no other
descriptor (contract v2: its context on 3, its verdict to 4). The launcher is a child subreaper, so
whatever a hook leaves behind becomes its child: it is killed when the call is over.

The report goes out before that: a hook that has exited is answered at once, whoever still holds
its stdout. No exception ends the launcher; what cannot be run is a report.

Most hooks are done within a few milliseconds, so that time is made cheap: the compiled part, where
it was built (`prompt`), serves them without the interpreter and hands the others over; a scheduling
policy lets whoever sent the request run on.
"""

from __future__ import annotations

import array
import ctypes
import gc
import math
import mmap
import os
import resource
import select
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from relevo.hooks import sandbox
from relevo.hooks.descendants import count_threads_of, kill_descendants
from relevo.hooks.input_file import memory_file
from relevo.hooks.places import Place
from relevo.hooks.prompt import MAX_FILES, Event, HandedOver, PromptCalls, Surroundings, library
from relevo.hooks.rights import be_patient, be_urgent, become
from relevo.hooks.running_call import END_OF_CHILD, MOMENT, NICE, PROMPT, RunningCall
from relevo.hooks.settings import PoolSettings, user_of
from relevo.hooks.wire import How, Report, Request, decode_request, encode_report

if TYPE_CHECKING:
    from types import FrameType

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LOW_DESCRIPTORS = 10  # below: only what a hook gets; a dup2 onto itself would stay close-on-exec
_FILES_SPACE = socket.CMSG_SPACE(MAX_FILES * array.array("i").itemsize)
_PACKET = 208 * 1024  # more than a packet can be
_IDLE = 30.0  # seconds after which a launcher that was needed once is not needed any more
_ALL_PROCESSES = 4096  # and threads, of the user and not of the hook: the last barrier
_PROCESSES_EACH = 4  # of the user's other hooks, which may start them at the same time
_COUNTED_FOR = 10.0  # seconds for which it is known how many the user has
_CLEAN_UP = 5.0  # seconds for killing what a hook left
_TERM = (signal.SIGTERM,)
UNHEARD_AT_FIRST = _TERM  # blocked by the host until a launcher has its handler


class Stop(BaseException):
    """The host said TERM while nothing ran."""


class Launcher:
    """The life of one launcher, in its own process."""

    def __init__(self, requests: socket.socket, settings: PoolSettings, place: Place) -> None:
        self._requests = requests
        self._settings = settings
        self._place = place
        self._is_waiting = False
        self._is_stopping = False
        self._pid = 0
        self._counted_until = 0.0
        self._problem = ""  # why it can run nothing

    def run(self) -> None:
        """Take requests until told to stop."""
        self.start()
        self._poller = select.epoll()
        self._poller.register(self._requests.fileno(), select.EPOLLIN | select.EPOLLEXCLUSIVE)
        prompt = self._prompt_calls()
        with suppress(Stop):
            while not self._is_stopping:
                todo = self._next_request() if prompt is None else self._next_odd_call(prompt)
                if todo is None:
                    continue
                try:
                    self._serve(todo)
                finally:
                    for descriptor in todo.files:
                        os.close(descriptor)
                if self._call_left_processes():
                    self._place.lengthen()
                    be_urgent()
                    if not kill_descendants(self._pid, patience=_CLEAN_UP):
                        return  # the host adopts the rest and starts another launcher
                if self._place.is_long:
                    be_patient()
                self._place.free()

    def start(self) -> None:
        """Become a launcher; what goes wrong is the answer to every request."""
        try:
            self._prepare()
        except KeyError:
            self._problem = f"there is no user {self._settings.run_as!r}"
        except (OSError, ValueError) as error:
            self._problem = f"its launcher cannot run: {error}"
        self._pid = os.getpid()
        self._buffer = mmap.mmap(-1, _PACKET)  # pages that no packet needs are never there

    def _prepare(self) -> None:
        gc.disable()  # a collection would copy every page shared with the other launchers
        signal.signal(signal.SIGTERM, self._on_term)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, UNHEARD_AT_FIRST)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        null = os.open(os.devnull, os.O_RDWR)
        for low in range(_LOW_DESCRIPTORS):
            if low != null and low != self._requests.fileno():
                os.dup2(null, low, inheritable=False)
        self._null = os.open(os.devnull, os.O_RDONLY)
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("500")  # hooks go before the server
        os.chdir(self._settings.directory)
        self._set_limits()
        become(user_of(self._settings))
        sandbox.enter(self._settings.sandbox)
        be_patient()
        signal.pthread_sigmask(signal.SIG_BLOCK, END_OF_CHILD)  # it is waited for
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # after setuid(2), which takes it back
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)

    def _set_limits(self) -> None:
        limits = self._settings.limits
        for which, value in (
            (resource.RLIMIT_DATA, limits.memory),
            (resource.RLIMIT_FSIZE, limits.file_size),
            (resource.RLIMIT_NOFILE, limits.open_files),
            (resource.RLIMIT_NPROC, _ALL_PROCESSES),
        ):
            hard = resource.getrlimit(which)[1]
            if value and (hard == resource.RLIM_INFINITY or value <= hard):
                resource.setrlimit(which, (value, value))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def _on_term(self, _number: int, _frame: FrameType | None) -> None:
        self._is_stopping = True
        if self._is_waiting:
            raise Stop

    def _prompt_calls(self) -> PromptCalls | None:
        """The compiled part, where it is there and this launcher can run anything."""
        compiled = library()
        if compiled is None or self._problem:
            return None
        around = Surroundings(
            pool=self._settings.identity,
            requests=self._requests.fileno(),
            poller=self._poller.fileno(),
            null=self._null,
            bell=self._place.bell,
            place=self._place.number,
            few=self._place.places.few,
            cpu_s=self._settings.limits.cpu,
            nice=NICE,
            idle_s=_IDLE,
            moment=MOMENT,
            prompt=PROMPT,
        )
        return PromptCalls(compiled, around, self._buffer, self._place.places.memory)

    def _next_odd_call(self, prompt: PromptCalls) -> HandedOver | None:
        """Serve ordinary calls until there is one that is not."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _TERM)  # it is heard while `serve` waits
        if self._is_stopping:
            raise Stop
        todo = prompt.serve(self._counted_until)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _TERM)
        match todo.event:
            case Event.CLOSED:
                raise Stop
            case Event.IDLE:
                if not self._place.is_one_of_few:
                    raise Stop
                return None
            case Event.STOPPED:  # its handler has run by now
                return None
            case _:
                return todo

    def _next_request(self) -> HandedOver:
        """Wait, together with the pool's other launchers.

        The kernel wakes the one of them that has waited the shortest time: its pages are the
        likeliest to be in a cache, and those that are not needed are left idle.
        """
        while True:
            self._is_waiting = True
            if self._is_stopping:  # since it was looked at last
                raise Stop
            is_there = self._poller.poll(_IDLE)
            self._is_waiting = False
            if not is_there:
                if not self._place.is_one_of_few:
                    raise Stop
                continue
            with suppress(BlockingIOError):  # another one was faster
                packet, files = self.receive()
                self._place.take()
                return HandedOver(Event.REQUEST, packet, files)

    def receive(self) -> tuple[bytes, list[int]]:
        """The request that is there. Raises BlockingIOError."""
        length, ancillary, _, _ = self._requests.recvmsg_into(
            [self._buffer], _FILES_SPACE, socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
        )
        if not length:
            raise Stop  # nobody is left who could ask
        files = array.array("i")
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                files.frombytes(data[: len(data) - len(data) % files.itemsize])
        return self._buffer[:length], list(files)

    def _serve(self, todo: HandedOver) -> None:
        """Answer the request, unless that was done."""
        if not todo.packet or not todo.files:
            return
        try:
            report = self._report(decode_request(todo.packet), todo)
        except (msgspec.MsgspecError, IndexError) as error:
            report = Report(How.BROKEN, detail=f"unreadable request: {error}")
        with suppress(OSError):  # the caller has gone
            os.write(todo.files[0], encode_report(report))

    def _report(self, request: Request, todo: HandedOver) -> Report:
        """Run it, or go on where it is handed over."""
        if todo.event is Event.REQUEST:
            return self._run(request, todo.files)
        call = RunningCall(request, self._place, todo.pid, *todo.pipes)
        if todo.event is Event.ENDED:
            return call.ended(todo.status, todo.start)
        return call.watch(todo.files[0], todo.start, self._pid)

    def _run(self, request: Request, files: list[int]) -> Report:
        """From its start. What is opened for it is added to `files`, closed after the call."""
        answer = files[0]
        start = time.monotonic()
        if (refusal := self.refusal(request, answer, start)) is not None:
            return refusal
        try:
            inputs = self._inputs(request, files)
            call = self._start(request, inputs)
        except (OSError, ValueError) as error:
            detail = getattr(error, "strerror", None) or str(error)
            return Report(How.NOT_STARTED, detail=detail, seconds=time.monotonic() - start)
        return call.watch(answer, start, self._pid)

    def refusal(self, request: Request, answer: int, now: float) -> Report | None:
        """Why the request is not even tried."""
        if request.pool != self._settings.identity:
            return Report(How.BROKEN, detail="the hooks are being configured anew")
        has_waited = now - request.sent
        if has_waited > request.patience or (has_waited > PROMPT and _has_hung_up(answer)):
            return Report(How.BUSY)
        if self._problem:
            return Report(How.NOT_STARTED, detail=self._problem)
        return None

    def _start(self, request: Request, inputs: list[int]) -> RunningCall:
        self._limit_processes(request.max_processes)
        try:
            return RunningCall.start(request, inputs, self._settings.limits.cpu, self._place)
        except BlockingIOError:  # another hook has used up what all may have together
            self._counted_until = 0.0
            self._limit_processes(request.max_processes)
            return RunningCall.start(request, inputs, self._settings.limits.cpu, self._place)

    def _limit_processes(self, most: int) -> None:
        """How many processes the user may have before the hook's own forks fail.

        The system counts them by user, not by hook, so this is more than the hook may have: it
        keeps forks without end from becoming thousands before they are seen. Not for root.
        """
        now = time.monotonic()
        if os.getuid() == 0:
            self._counted_until = math.inf
        if now < self._counted_until:
            return
        self._counted_until = now + _COUNTED_FOR
        limit = count_threads_of(os.getuid()) + most + _PROCESSES_EACH * self._settings.slots
        hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        soft = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(resource.RLIMIT_NPROC, (soft, hard))

    def _inputs(self, request: Request, files: list[int]) -> list[int]:
        passed = files[:0:-1]
        inputs: list[int] = []
        for octets in request.inputs:
            if octets is None:
                inputs.append(passed.pop())
            elif octets:
                files.append(memory_file(octets))
                inputs.append(files[-1])
            else:
                inputs.append(self._null)
        return inputs

    def _call_left_processes(self) -> bool:
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        return True


def _has_hung_up(answer: int) -> bool:
    poller = select.poll()
    poller.register(answer, 0)
    return bool(poller.poll(0))
