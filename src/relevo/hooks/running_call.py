"""One running hook: from the start of its program to the report on its end.

A call that is over within a few milliseconds is only waited for. One that takes longer gets all the
rest: priority, and a look at floods, at forks without end and at whether the caller is still there.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import time
from contextlib import suppress
from enum import Enum, auto

from relevo.hooks.descendants import count_descendants
from relevo.hooks.places import Place
from relevo.hooks.rights import be_urgent
from relevo.hooks.wire import (
    MAX_STDERR,
    NOTICE_AFTER,
    STARTED,
    How,
    Report,
    Request,
    read_environment,
)

END_OF_CHILD = (signal.SIGCHLD,)
"""Blocked in whoever starts hooks: it is waited for."""
IGNORED_HERE = (
    signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGPIPE, signal.SIGXFSZ,
    signal.SIGQUIT, signal.SIGTERM, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU,
)  # fmt: skip
"""By the host, by a launcher, by Python, or by whoever started the server (a shell's `&` ignores
QUIT); what has a handler, an exec resets."""

MOMENT = 0.003
"""Seconds; whoever waits longer than that may need one more launcher."""
PROMPT = 0.01
"""Seconds in which most hooks are done."""
NICE = 5
"""Of hooks: where there is not enough for all, the server goes first."""

_CHUNK = 64 * 1024
_MAX_ERRORS = 8 * 1024 * 1024  # octets of stderr after which a hook is killed
_LOOK_EVERY = 0.1  # seconds between looks at how many processes a hook has, at first less
_LAST = 19  # the nice value of a hook that may be about to have thousands of processes
_MANY = 32  # processes, from which it may
_FEW = 8  # processes; a hook that has no more is not about to have thousands
_CHATTY = 8 * 1024  # octets between two looks, of which a pipe holds 64 KiB


class _Read(Enum):
    SOME = auto()
    NOTHING = auto()  # now
    END = auto()


class RunningCall:
    """One running hook. `out` and `err` are the reading ends of its pipes, and are its own."""

    def __init__(self, request: Request, place: Place, pid: int, out: int, err: int) -> None:
        self.pid = pid
        self._request = request
        self._place = place
        self._output = bytearray()
        self._errors = bytearray()
        self._errors_seen = 0
        self._status: int | None = None  # as waitpid(2) says it, once the hook has ended
        self._pipes = {out: self._take_output, err: self._take_errors}
        for end in self._pipes:
            os.set_blocking(end, False)

    @classmethod
    def start(cls, request: Request, files: list[int], cpu_s: int, place: Place) -> RunningCall:
        """Start its program. Raises OSError and ValueError where that cannot be."""
        out_read, out_write = os.pipe2(os.O_CLOEXEC)
        err_read, err_write = os.pipe2(os.O_CLOEXEC)
        try:
            pid = _spawn(request, files, out_write, err_write)
        except BaseException:
            os.close(out_read)
            os.close(err_read)
            raise
        finally:
            os.close(out_write)
            os.close(err_write)
        if cpu_s:  # of the hook alone: the launcher lives long
            with suppress(OSError, ValueError):  # a lower one holds
                resource.prlimit(pid, resource.RLIMIT_CPU, (cpu_s, cpu_s))
        os.setpriority(os.PRIO_PROCESS, pid, NICE)
        return cls(request, place, pid, out_read, err_read)

    def watch(self, answer: int, start: float, root: int) -> Report:
        """Until the hook ends, by itself or not."""
        patience = min(PROMPT, self._request.timeout)
        if self._ends_until(start + min(MOMENT, patience)):
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

    def ended(self, status: int, start: float) -> Report:
        """It was waited for already, with this status."""
        self._status = status
        return self._end(None, "", start)

    def _ends_until(self, deadline: float) -> bool:
        """Wait for nothing but its end: what most hooks write fits the pipes."""
        while (left := deadline - time.monotonic()) > 0:
            signal.sigtimedwait(END_OF_CHILD, left)
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


def _spawn(request: Request, files: list[int], out: int, err: int) -> int:
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
