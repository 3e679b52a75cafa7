"""A launcher: a small process that runs one hook at a time, and leaves nothing of it.

Its limits, working directory and user are set once and inherited by every hook. A hook runs in a
session of its own with stdin from a file, stdout and stderr into pipes, and no other descriptor
(contract v2: its context on 3, its verdict to 4). The launcher is a child subreaper, so whatever
a hook leaves behind becomes its child: it is killed when the call is over.

The report goes out before that: a hook that has exited is answered at once, whoever still holds
its stdout. No exception ends the launcher; what cannot be run is a report.
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

from relevo.hooks.descendants import count_descendants, kill_descendants
from relevo.hooks.places import Place
from relevo.hooks.settings import PoolSettings, become
from relevo.hooks.wire import (
    MAX_STDERR,
    NOTICE_AFTER,
    STARTED,
    How,
    Report,
    Request,
    decode_request,
    encode_report,
)

if TYPE_CHECKING:
    from types import FrameType

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LOW_DESCRIPTORS = 10  # below: only what a hook gets; a dup2 onto itself would stay close-on-exec
_FILES = 3  # descriptors with a request, at most
_PACKET = 208 * 1024  # more than a packet can be
_CHUNK = 64 * 1024
_MAX_ERRORS = 8 * 1024 * 1024  # octets of stderr after which a hook is killed
_PROMPT = 0.01  # seconds in which most hooks are done
_LOOK_EVERY = 0.1  # seconds between looks at how many processes a hook has, at first less
_ALL_PROCESSES = 4096  # and threads, of the user and not of the hook: the last barrier
_CLEAN_UP = 5.0  # seconds for killing what a hook left
_RESTORED = tuple(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


class _Stop(BaseException):
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
        self._problem = ""  # why it can run nothing

    def run(self) -> None:
        """Take requests until told to stop."""
        try:
            self._prepare()
        except KeyError:
            self._problem = f"there is no user {self._settings.run_as!r}"
        except (OSError, ValueError) as error:
            self._problem = f"its launcher cannot run: {error}"
        self._pid = os.getpid()
        self._buffer = mmap.mmap(-1, _PACKET)  # pages that no packet needs are never there
        with suppress(_Stop):
            while not self._is_stopping:
                packet, files = self._next_request()
                self._place.take()
                try:
                    if packet and files:
                        self._serve(packet, files)
                finally:
                    for descriptor in files:
                        os.close(descriptor)
                if self._call_left_processes() and not kill_descendants(
                    self._pid, patience=_CLEAN_UP
                ):
                    return  # the host adopts the rest and starts another launcher
                self._place.free()

    def _prepare(self) -> None:
        gc.disable()  # a collection would copy every page shared with the other launchers
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        null = os.open(os.devnull, os.O_RDWR)
        for low in range(_LOW_DESCRIPTORS):
            if low != null and low != self._requests.fileno():
                os.dup2(null, low, inheritable=False)
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("500")  # hooks go before the server
        os.chdir(self._settings.directory)
        self._set_limits()
        with suppress(OSError):
            # Against thousands of processes the one that has to stop them must get its turn.
            policy = os.SCHED_RR | os.SCHED_RESET_ON_FORK
            os.sched_setscheduler(0, policy, os.sched_param(os.sched_get_priority_min(os.SCHED_RR)))
        become(self._settings)
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
            raise _Stop

    def _next_request(self) -> tuple[bytes, list[int]]:
        """Wait, together with the pool's other launchers: the kernel wakes one of them."""
        files = array.array("i")
        self._is_waiting = True
        length, ancillary, _, _ = self._requests.recvmsg_into(
            [self._buffer], socket.CMSG_SPACE(_FILES * files.itemsize), socket.MSG_CMSG_CLOEXEC
        )
        self._is_waiting = False
        if not length:
            raise _Stop  # nobody is left who could ask
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                files.frombytes(data[: len(data) - len(data) % files.itemsize])
        return self._buffer[:length], list(files)

    def _serve(self, packet: bytes, files: list[int]) -> None:
        answer = files[0]
        try:
            report = self._report(decode_request(packet), files[1:], answer)
        except (msgspec.MsgspecError, IndexError) as error:
            report = Report(How.BROKEN, detail=f"unreadable request: {error}")
        with suppress(OSError):  # the caller has gone
            os.write(answer, encode_report(report))

    def _report(self, request: Request, files: list[int], answer: int) -> Report:
        if request.pool != self._settings.identity:
            return Report(How.BROKEN, detail="the hooks are being configured anew")
        start = time.monotonic()
        has_waited = start - request.sent
        if has_waited > request.patience or (has_waited > _PROMPT and _has_hung_up(answer)):
            return Report(How.BUSY)
        if self._problem:
            return Report(How.NOT_STARTED, detail=self._problem)
        try:
            call = _Call(request, files, self._settings.limits.cpu)
        except (OSError, ValueError) as error:
            detail = getattr(error, "strerror", None) or str(error)
            return Report(How.NOT_STARTED, detail=detail, seconds=time.monotonic() - start)
        return call.watch(answer, start, self._pid)

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

    def __init__(self, request: Request, files: list[int], cpu_s: int) -> None:
        self._request = request
        self._output = bytearray()
        self._errors = bytearray()
        self._errors_seen = 0
        out_read, out_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        err_read, err_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._pipes = {out_read: self._take_output, err_read: self._take_errors}
        try:
            for end in (out_write, err_write):
                os.set_blocking(end, True)
            self.pid = self._spawn(files, out_write, err_write)
        except BaseException:
            self._close_pipes()
            raise
        finally:
            os.close(out_write)
            os.close(err_write)
        if cpu_s:  # of the hook alone: the launcher lives long
            resource.prlimit(self.pid, resource.RLIMIT_CPU, (cpu_s, cpu_s))
        self._exit = os.pidfd_open(self.pid)

    def _spawn(self, files: list[int], out: int, err: int) -> int:
        request = self._request
        if request.is_v2:
            plan = [(files[0], 0), (err, 1), (err, 2), (files[1], 3), (out, 4)]
        else:
            plan = [(files[0], 0), (out, 1), (err, 2)]
        return os.posix_spawn(
            request.words[0],
            request.words,
            request.environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, source, target) for source, target in plan],
            setsid=True,
            setsigmask=[],
            setsigdef=_RESTORED,
        )

    def watch(self, answer: int, start: float, root: int) -> Report:
        """Until the hook ends, by itself or not."""
        request = self._request
        deadline = start + request.timeout
        poller = select.poll()
        poller.register(self._exit, select.POLLIN)
        poller.register(answer, 0)  # only whether the caller has hung up
        # Most hooks are done at once, and what they wrote fits the pipes: the end of such a hook
        # would wake us three times, for each pipe and for itself.
        pipes_at = start + _PROMPT
        notice_at = start + NOTICE_AFTER
        has_exited, how, detail = False, None, ""
        look_at = start + _PROMPT
        while not has_exited and how is None:
            now = time.monotonic()
            if now >= deadline:
                how = How.TIMED_OUT
                break
            if pipes_at and now >= pipes_at:
                pipes_at = 0.0
                for pipe in self._pipes:
                    poller.register(pipe, select.POLLIN)
            if notice_at and now >= notice_at:
                notice_at = 0.0
                with suppress(OSError):
                    os.write(answer, STARTED)
            if now >= look_at:
                look_at = now + min(_LOOK_EVERY, now - start)
                if count_descendants(root, request.max_processes) > request.max_processes:
                    how, detail = How.TOO_MANY_PROCESSES, f"over {request.max_processes}"
                    break
            wake_at = min(deadline, look_at)
            for descriptor, happened in poller.poll(max(0.0, wake_at - now) * 1000):
                if descriptor == self._exit:
                    has_exited = True
                elif descriptor in self._pipes:
                    if self._read(descriptor) is _Read.END:
                        poller.unregister(descriptor)
                elif happened & (select.POLLHUP | select.POLLERR):
                    how = How.BUSY  # nobody waits for it any more
            if self._is_flooding():
                how = How.TOO_MUCH_OUTPUT
        return self._end(how, detail, start)

    def _end(self, how: How | None, detail: str, start: float) -> Report:
        os.close(self._exit)
        code = 0
        if how is not None:
            # The group dies in one step; it is reaped after the report, with what has left it.
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        else:
            code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            for pipe in self._pipes:
                while self._read(pipe) is _Read.SOME and not self._is_flooding():
                    pass
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
