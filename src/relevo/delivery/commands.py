"""Commands that get a message on stdin: mail delivery agents and pipe aliases.

A command runs without a shell, in a session and process group of its own, with every other
descriptor closed (but its tether's) and a small environment. Its stdin is a file (a sealed memfd,
or an unlinked temporary file for a large message): nobody has to feed it, and a command that does
not read hurts nobody. Its stdout and stderr are read through one pipe, of which the first 64 KiB
are kept.

However a call ends (exit, deadline, cancellation), the whole process group is killed and the
command is reaped: what it left in the background does not live on, and nobody waits for a
grandchild that holds the pipe open. A tether ends it when this process is killed meanwhile.

The environment (all of it): PATH, HOME, USER, SHELL and LANG as the server has them, PWD (the
configuration directory, which is the working directory), and SENDER, RECIPIENT and MESSAGE_ID
from the message. RECIPIENT is the final address for a mail delivery agent, the forward-path whose
alias it is for a pipe; SENDER is empty for the null reverse-path.

The exit is seen through a pidfd on the event loop (asyncio or uvloop); no signal handler is used.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from relevo.delivery.tether import Tether

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

MAX_OUTPUT = 64 * 1024
MEMFD_LIMIT = 1024 * 1024
REAP_DEADLINE_S = 5.0
_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PASSED_ON = ("HOME", "USER", "SHELL", "LANG")


class CommandNotStarted(Exception):
    """The command could not be run at all; the text says why, without its path."""


@dataclass(frozen=True, slots=True)
class Command:
    """What to run. `variables`: beyond the fixed environment."""

    words: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: exit status, or the signal that ended it; or its deadline passed."""

    status: int | None  # None: ended by a signal
    signal: int | None
    output: bytes  # stdout and stderr, at most MAX_OUTPUT
    is_timeout: bool = False


def environment(directory: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """The environment of a command, as the module's head lists it."""
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {
        "PATH": os.environ.get("PATH", _DEFAULT_PATH),
        **passed_on,
        "PWD": str(directory),
        **variables,
    }


def stdin_file(pieces: Iterable[bytes], size: int) -> BinaryIO:
    """A file of the octets, at its beginning; `size` chooses the kind. Blocking; raises OSError."""
    if size > MEMFD_LIMIT:
        stdin: BinaryIO = tempfile.TemporaryFile(prefix="relevo-stdin-")  # noqa: SIM115 the caller closes it
    else:
        flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
        stdin = os.fdopen(os.memfd_create("relevo-stdin", flags), "w+b")
    try:
        for piece in pieces:
            stdin.write(piece)
        stdin.seek(0)  # also flushes
        if size <= MEMFD_LIMIT:
            fcntl.fcntl(stdin, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        stdin.close()
        raise
    return stdin


class CommandRunner:
    """Runs commands, `limit` at once, each with the same deadline, working in `directory`."""

    def __init__(self, directory: Path, *, timeout_s: float, limit: int) -> None:
        self._directory = directory
        self._timeout_s = timeout_s
        self._slots = asyncio.Semaphore(limit)

    async def run(self, command: Command, pieces: Iterable[bytes], size: int) -> Ended:
        """Run a command to its end with `pieces` (about `size` octets) as stdin.

        Raises CommandNotStarted. The wait for a slot ends because every running command does.
        """
        async with self._slots:
            try:
                if size > MEMFD_LIMIT // 4:
                    stdin = await asyncio.to_thread(stdin_file, pieces, size)
                else:
                    stdin = stdin_file(pieces, size)
            except OSError as error:
                raise CommandNotStarted(f"no file for its input: {error.strerror}") from error
            with stdin:
                running = self._start(command, stdin)
            return await running.wait(self._timeout_s)

    def _start(self, command: Command, stdin: BinaryIO) -> _Running:
        try:
            tether = Tether()
        except OSError as error:
            raise CommandNotStarted(f"no pipe for it: {error.strerror}") from error
        try:
            return _Running(self._spawn(command, stdin, tether), tether)
        except CommandNotStarted:
            tether.cut()
            raise

    def _spawn(self, command: Command, stdin: BinaryIO, tether: Tether) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                command.words,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=self._directory,
                env=environment(self._directory, command.variables),
                start_new_session=True,
                close_fds=True,
                pass_fds=(tether.end,),
                bufsize=0,
            )
        except OSError as error:
            raise CommandNotStarted(error.strerror or "it cannot be run") from error
        except ValueError as error:
            # NUL in an argument or variable
            raise CommandNotStarted(str(error)) from error


class _Running:
    """A started command: collects its output, sees its exit, kills and reaps it."""

    def __init__(self, process: subprocess.Popen[bytes], tether: Tether) -> None:
        """Raises CommandNotStarted; then it was killed."""
        assert process.stdout is not None
        self._process = process
        self._tether = tether
        self._output = bytearray()
        self._loop = asyncio.get_running_loop()
        self._exited: asyncio.Future[None] = self._loop.create_future()
        self._stdout = process.stdout.fileno()
        os.set_blocking(self._stdout, False)
        try:
            tether.tie(process.pid)
            self._pidfd = os.pidfd_open(process.pid)
        except OSError as error:
            self._kill_group()
            process.stdout.close()
            process.wait()
            raise CommandNotStarted(error.strerror or "it cannot be watched") from error
        self._is_reading = True
        self._loop.add_reader(self._stdout, self._read)
        self._loop.add_reader(self._pidfd, self._on_exit)

    async def wait(self, timeout_s: float) -> Ended:
        is_timeout = False
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(self._exited)
        except TimeoutError:
            is_timeout = True
        finally:
            if not self._exited.done():
                self._kill_group()
                # a process in an uninterruptible call is reaped later, by _on_exit
                await asyncio.wait({self._exited}, timeout=REAP_DEADLINE_S)
            self._stop_reading()
        code = self._process.returncode
        return Ended(
            status=code if code is not None and code >= 0 else None,
            signal=-code if code is not None and code < 0 else None,
            output=bytes(self._output),
            is_timeout=is_timeout,
        )

    def _read(self) -> int:
        """Take what is there, keep what fits; the number of octets taken."""
        try:
            data = os.read(self._stdout, MAX_OUTPUT)
        except BlockingIOError:
            return 0
        if not data:
            self._stop_reading()
        else:
            self._output += data[: MAX_OUTPUT - len(self._output)]
        return len(data)

    def _stop_reading(self) -> None:
        if self._is_reading:
            self._is_reading = False
            self._loop.remove_reader(self._stdout)
            assert self._process.stdout is not None
            self._process.stdout.close()

    def _on_exit(self) -> None:
        """The command is a zombie: its id is still ours, so its group can be killed safely."""
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._kill_group()
        self._tether.cut()
        self._process.wait()
        while self._is_reading and len(self._output) < MAX_OUTPUT and self._read():
            pass
        if not self._exited.done():
            self._exited.set_result(None)

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


def describe_output(output: bytes, limit: int = 500) -> str:
    """A short, one-line form of a command's output, safe in logs and DSNs."""
    text = output[: limit * 4].decode("utf-8", "replace").strip()
    shown = "".join(
        character if character.isprintable() else repr(character)[1:-1] for character in text
    )
    return shown if len(shown) <= limit else shown[:limit] + "…"


def describe_end(ended: Ended) -> str:
    """`exit status 7: "its output"`, for the mail log and DSNs."""
    if ended.is_timeout:
        what = "it did not end in time and was killed"
    elif ended.signal is not None:
        try:
            what = f"ended by signal {signal.Signals(ended.signal).name}"
        except ValueError:
            what = f"ended by signal {ended.signal}"
    else:
        what = f"exit status {ended.status}"
    shown = describe_output(ended.output)
    return f'{what}: "{shown}"' if shown else what
