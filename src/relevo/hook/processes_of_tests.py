"""One call of a hook that is a program, for tests: started, told, read, and never left behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

_MAX_READ = 1024 * 1024
_FIRST_FREE = 10  # descriptor; those below are a hook's


class HookFailed(Exception):
    """What the server would take for a failure of the hook; the text says why."""


@dataclass(frozen=True, slots=True)
class Job:
    """A call: the program, what it is started with, and what it is told."""

    path: Path
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    context: bytes
    octets: bytes
    timeout_s: float


class _Answer(msgspec.Struct):
    """A line of a worker."""

    id: int
    answer: msgspec.Raw = msgspec.Raw(b"{}")
    error: str = ""


def run_exec(job: Job) -> tuple[bytes, str]:
    """A process for the call: its verdict, and what it wrote to stdout and stderr."""
    with contextlib.ExitStack() as stack:
        stdin, said, context, verdict = (
            stack.enter_context(_file(octets)) for octets in (job.octets, b"", job.context, b"")
        )
        command = [str(job.path), *job.arguments]
        # chdir, then exec: posix_spawn(3) of Python cannot change the folder
        shell = ["/bin/sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", str(job.folder), *command]
        pid = os.posix_spawn(
            shell[0],
            shell,
            job.environment,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, old, new)
                for new, old in enumerate((stdin, said, said, context, verdict))
            ],
            setsid=True,
        )
        status = _wait(pid, job.timeout_s)
        errors = _read(said).decode("utf-8", "replace")
        if status != 0:
            raise HookFailed(f"{_ended(status, job)}; it wrote: {errors}")
        return _read(verdict), errors


def run_worker(job: Job) -> tuple[bytes, str]:
    """A process that stays, with one call only."""
    return _talk(job, [str(job.path), *job.arguments])


def run_python(job: Job) -> tuple[bytes, str]:
    """The same for a Python file."""
    words = [sys.executable, "-P", "-m", "relevo.hook.runner", str(job.path), *job.arguments]
    return _talk(job, words)


def _talk(job: Job, words: list[str]) -> tuple[bytes, str]:
    head = b'{"id":1,"size":%d,"context":%s}\n' % (len(job.octets), job.context)
    with subprocess.Popen(
        words,
        cwd=job.folder,
        env=dict(job.environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(head + job.octets, job.timeout_s)
        except subprocess.TimeoutExpired as error:
            raise HookFailed(f"it has not answered within {job.timeout_s:g} s") from error
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    said = errors.decode("utf-8", "replace")
    try:
        answer = msgspec.json.decode(output.partition(b"\n")[0], type=_Answer)
    except msgspec.MsgspecError as error:
        raise HookFailed(f"it answers {output[:200]!r}: {error}; it wrote: {said}") from error
    if answer.error or answer.id != 1:
        raise HookFailed(f"{answer.error or 'it answers another call'}; it wrote: {said}")
    return bytes(answer.answer), said


@contextlib.contextmanager
def _file(octets: bytes) -> Iterator[int]:
    """A descriptor of a file without a name, above those that hooks know."""
    low = os.memfd_create("hook")
    descriptor = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE)
    os.close(low)
    try:
        os.pwrite(descriptor, octets, 0)
        yield descriptor
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> bytes:
    return os.pread(descriptor, _MAX_READ, 0)


def _wait(pid: int, timeout_s: float) -> int:
    """The exit status, below zero the signal; the whole group is gone then."""
    with contextlib.ExitStack() as stack:
        watched = os.pidfd_open(pid)
        stack.callback(os.close, watched)
        select.select([watched], [], [], timeout_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def _ended(status: int, job: Job) -> str:
    if status == -signal.SIGKILL:
        return f"it was killed, perhaps because it had not ended within {job.timeout_s:g} s"
    return f"it ended by signal {-status}" if status < 0 else f"its exit status is {status}"
