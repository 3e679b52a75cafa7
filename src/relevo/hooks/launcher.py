"""A launcher: a small process that runs one hook at a time, and leaves nothing of it.

Its limits, working directory and user are set once and inherited by every hook. A hook runs in a
process group of its own with stdin from a file, stdout and stderr into pipes, and no other
descriptor (contract v2: its context on 3, its verdict to 4). The launcher is a child subreaper, so
whatever a hook leaves behind becomes its child: it is killed when the call is over.

The report goes out before that: a hook that has exited is answered at once, whoever still holds
its stdout. No exception ends the launcher; what cannot be run is a report.

Most hooks are done within a few milliseconds, so that time is made cheap: one wait for the end of
the child, no look at pipes, and a scheduling policy that lets whoever sent the request run on. A
call that takes longer gets all the rest: priority, and a look at floods, at forks without end and
at whether the caller is still there.
"""

from __future__ import annotations

import array
import ctypes
import gc
import mmap
import os
import resource
import select
import signal
import socket
import time
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from relevo.hooks.descendants import count_descendants, count_threads_of, kill_descendants
from relevo.hooks.input_file import memory_file
from relevo.hooks.places import Place
from relevo.hooks.rights import be_patient, be_urgent, become
from relevo.hooks.settings import PoolSettings, user_of
from relevo.hooks.wire import (
    MAX_STDERR,
    NOTICE_AFTER,
    STARTED,
    How,
    Report,
    Request,
    decode_request,
    encode_report,
    read_environment,
)

if TYPE_CHECKING:
    from types import FrameType

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LOW_DESCRIPTORS = 10  # below: only what a hook gets; a dup2 onto itself would stay close-on-exec
_FILES = 3  # descriptors with a request, at most
_FILES_SPACE = socket.CMSG_SPACE(_FILES * array.array("i").itemsize)
_PACKET = 208 * 1024  # more than a packet can be
_CHUNK = 64 * 1024
_MAX_ERRORS = 8 * 1024 * 1024  # octets of stderr after which a hook is killed
_MOMENT = 0.003  # seconds; whoever waits longer than that may need one more launcher
_PROMPT = 0.01  # seconds in which most hooks are done
_IDLE = 30.0  # seconds after which a launcher that was needed once is not needed any more
_LOOK_EVERY = 0.1  # seconds between looks at how many processes a hook has, at first less
_NICE = 5  # of hooks: where there is not enough for all, the server goes first
_LAST = 19  # the nice value of a hook that may be about to have thousands of processes
_MANY = 32  # processes, from which it may
_FEW = 8  # processes; a hook that has no more is not about to have thousands
_CHATTY = 8 * 1024  # octets between two looks, of which a pipe holds 64 KiB
_ALL_PROCESSES = 4096  # and threads, of the user and not of the hook: the last barrier
_PROCESSES_EACH = 4  # of the user's other hooks, which may start them at the same time
_COUNTED_FOR = 10.0  # seconds for which it is known how many the user has
_CLEAN_UP = 5.0  # seconds for killing what a hook left
_END_OF_CHILD = (signal.SIGCHLD,)
UNHEARD_AT_FIRST = (signal.SIGTERM,)  # blocked by the host until a launcher has its handler
IGNORED_HERE = (
    signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGPIPE, signal.SIGXFSZ,
    signal.SIGQUIT, signal.SIGTERM, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU,
)  # fmt: skip
"""By the host, by this program, by Python, or by whoever started the server (a shell's `&` ignores
QUIT); what has a handler, an exec resets."""


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
        with suppress(Stop):
            while not self._is_stopping:
                packet, files = self._next_request()
                self._place.take()
                try:
                    if packet and files:
                        self._serve(packet, files)
                finally:
                    for descriptor in files:
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
        be_patient()
        signal.pthread_sigmask(signal.SIG_BLOCK, _END_OF_CHILD)  # it is waited for
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

    def _next_request(self) -> tuple[bytes, list[int]]:
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
                return self.receive()

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

    def _serve(self, packet: bytes, files: list[int]) -> None:
        answer = files[0]
        try:
            report = self._report(decode_request(packet), files)
        except (msgspec.MsgspecError, IndexError) as error:
            report = Report(How.BROKEN, detail=f"unreadable request: {error}")
        with suppress(OSError):  # the caller has gone
            os.write(answer, encode_report(report))

    def _report(self, request: Request, files: list[int]) -> Report:
        """Run it. What is opened for it is added to `files`, which are closed after the call."""
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
        if has_waited > request.patience or (has_waited > _PROMPT and _has_hung_up(answer)):
            return Report(How.BUSY)
        if self._problem:
            return Report(How.NOT_STARTED, detail=self._problem)
        return None

    def _start(self, request: Request, inputs: list[int]) -> _Call:
        self._limit_processes(request.max_processes)
        try:
            return _Call(request, inputs, self._settings.limits.cpu, self._place)
        except BlockingIOError:  # another hook has used up what all may have together
            self._counted_until = 0.0
            self._limit_processes(request.max_processes)
            return _Call(request, inputs, self._settings.limits.cpu, self._place)

    def _limit_processes(self, most: int) -> None:
        """How many processes the user may have before the hook's own forks fail.

        The system counts them by user, not by hook, so this is more than the hook may have: it
        keeps forks without end from becoming thousands before they are seen. Not for root.
        """
        now = time.monotonic()
        if now < self._counted_until or os.getuid() == 0:
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


class _Read(Enum):
    SOME = auto()
    NOTHING = auto()  # now
    END = auto()


class _Call:
    """One running hook. Raises OSError where it cannot be started."""

    def __init__(self, request: Request, files: list[int], cpu_s: int, place: Place) -> None:
        self._request = request
        self._place = place
        self._output = bytearray()
        self._errors = bytearray()
        self._errors_seen = 0
        self._status: int | None = None  # as waitpid(2) says it, once the hook has ended
        out_read, out_write = os.pipe2(os.O_CLOEXEC)
        err_read, err_write = os.pipe2(os.O_CLOEXEC)
        self._pipes = {out_read: self._take_output, err_read: self._take_errors}
        try:
            for end in self._pipes:
                os.set_blocking(end, False)
            self.pid = self._spawn(files, out_write, err_write)
        except BaseException:
            self._close_pipes()
            raise
        finally:
            os.close(out_write)
            os.close(err_write)
        if cpu_s:  # of the hook alone: the launcher lives long
            resource.prlimit(self.pid, resource.RLIMIT_CPU, (cpu_s, cpu_s))
        os.setpriority(os.PRIO_PROCESS, self.pid, _NICE)

    def _spawn(self, files: list[int], out: int, err: int) -> int:
        request = self._request
        if request.is_v2:
            plan = [(files[0], 0), (err, 1), (err, 2), (files[1], 3), (out, 4)]
        else:
            plan = [(files[0], 0), (out, 1), (err, 2)]
        return os.posix_spawn(
            request.words[0],
            request.words,
            read_environment(request.environment),
            file_actions=[(os.POSIX_SPAWN_DUP2, source, target) for source, target in plan],
            setpgroup=0,
            setsigmask=[],
            setsigdef=IGNORED_HERE,
        )

    def watch(self, answer: int, start: float, root: int) -> Report:
        """Until the hook ends, by itself or not."""
        patience = min(_PROMPT, self._request.timeout)
        if self._ends_until(start + min(_MOMENT, patience)):
            return self._end(None, "", start)
        self._place.lengthen()
        be_urgent()
        if self._ends_until(start + patience):
            return self._end(None, "", start)
        exit_ = os.pidfd_open(self.pid)  # it cannot be another's: nobody has reaped it
        try:
            how, detail = self._watch_closely(exit_, answer, start, root)
        finally:
            os.close(exit_)
        return self._end(how, detail, start)

    def _ends_until(self, deadline: float) -> bool:
        """Wait for nothing but its end: what most hooks write fits the pipes."""
        while (left := deadline - time.monotonic()) > 0:
            signal.sigtimedwait(_END_OF_CHILD, left)
            if self._has_ended():
                return True
        return False

    def _has_ended(self) -> bool:
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            self._status = status
        return bool(pid)

    def _watch_closely(
        self, exit_: int, answer: int, start: float, root: int
    ) -> tuple[How | None, str]:
        """The end of a call that takes longer: None when the hook has ended by itself."""
        request = self._request
        deadline = start + request.timeout
        poller = select.poll()
        poller.register(exit_, select.POLLIN)
        poller.register(answer, 0)  # only whether the caller has hung up
        is_chatty = False
        notice_at = start + NOTICE_AFTER
        look_at = 0.0
        while (now := time.monotonic()) < deadline:
            if notice_at and now >= notice_at:
                notice_at = 0.0
                with suppress(OSError):
                    os.write(answer, STARTED)
            if now >= look_at:
                count = count_descendants(root, _MANY)
                if count > _MANY:  # without rights we are not ahead of them, so they go behind
                    with suppress(OSError):
                        os.setpriority(os.PRIO_PGRP, self.pid, _LAST)
                if count > min(_MANY, request.max_processes):
                    count = count_descendants(root, request.max_processes)
                if count > request.max_processes:
                    return How.TOO_MANY_PROCESSES, f"over {request.max_processes}"
                look_at = now + min(_LOOK_EVERY, (now - start) * (5 if count <= _FEW else 1))
                if not is_chatty and self._drain() > _CHATTY:
                    # Only now: a pipe wakes us once more than needed, when the hook ends.
                    is_chatty = True
                    for pipe in self._pipes:
                        poller.register(pipe, select.POLLIN)
            wake_at = min(deadline, look_at)
            has_exited = False
            for descriptor, happened in poller.poll(max(0.0, wake_at - now) * 1000):
                if descriptor == exit_:
                    has_exited = True
                elif descriptor in self._pipes:
                    if self._read(descriptor) is _Read.END:
                        poller.unregister(descriptor)
                elif happened & (select.POLLHUP | select.POLLERR):
                    return How.BUSY, ""  # nobody waits for it any more
            if self._is_flooding():
                return How.TOO_MUCH_OUTPUT, ""
            if has_exited and self._has_ended():
                return None, ""
        return How.TIMED_OUT, ""

    def _end(self, how: How | None, detail: str, start: float) -> Report:
        code = 0
        if self._status is None:
            # The group dies in one step; it is reaped after the report, with what has left it.
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        else:
            code = os.waitstatus_to_exitcode(self._status)
            self._drain()
            if self._is_flooding():
                how = How.TOO_MUCH_OUTPUT
        self._close_pipes()
        if how is None:
            how = How.EXITED if code >= 0 else How.SIGNALLED
        return Report(
            how,
            status=abs(code),
            output=bytes(self._output[: self._request.max_output]),
            errors=bytes(self._errors),
            seconds=time.monotonic() - start,
            detail=detail,
        )

    def _drain(self) -> int:
        """Read what is there; octets of it, of output and errors together."""
        before = len(self._output) + self._errors_seen
        for pipe in self._pipes:
            while self._read(pipe) is _Read.SOME and not self._is_flooding():
                pass
        return len(self._output) + self._errors_seen - before

    def _read(self, pipe: int) -> _Read:
        try:
            data = os.read(pipe, _CHUNK)
        except BlockingIOError:
            return _Read.NOTHING
        if not data:
            return _Read.END
        self._pipes[pipe](data)
        return _Read.SOME

    def _is_flooding(self) -> bool:
        return len(self._output) > self._request.max_output or self._errors_seen > _MAX_ERRORS

    def _take_output(self, data: bytes) -> None:
        self._output += data

    def _take_errors(self, data: bytes) -> None:
        self._errors_seen += len(data)
        self._errors += data[: MAX_STDERR - len(self._errors)]

    def _close_pipes(self) -> None:
        for pipe in self._pipes:
            os.close(pipe)
        self._pipes = {}


def _has_hung_up(answer: int) -> bool:
    poller = select.poll()
    poller.register(answer, 0)
    return bool(poller.poll(0))
