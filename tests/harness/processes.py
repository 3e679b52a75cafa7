"""Processes that tests start: with a log each, ended as a whole, none left behind.

Every process started here carries a token of its test in its environment. At the end each one is
asked to stop, then its process group is killed; then any process on the machine that still carries
the token is a failure (and is killed), also when it left the group.
"""

from __future__ import annotations

import os
import signal
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from harness.waiting import WaitedInVain, wait_for

TOKEN_NAME = "RELEVO_TEST_TOKEN"
STOP_TIMEOUT_S = 10.0


class Process:
    """A running program in a process group of its own, its output in a file."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str],
        cwd: Path | None,
        pass_fds: Sequence[int],
        stdin: Path | None,
    ) -> None:
        self.command = [str(word) for word in command]
        self.log = log
        with log.open("ab") as output, (stdin or Path(os.devnull)).open("rb") as source:
            self.popen = subprocess.Popen(
                self.command,
                stdin=source,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(env),
                cwd=cwd,
                pass_fds=tuple(pass_fds),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.popen.pid

    def is_running(self) -> bool:
        return self.popen.poll() is None

    def output(self) -> str:
        """What it wrote so far to standard output and standard error."""
        return self.log.read_text(errors="replace")

    def send(self, number: signal.Signals) -> None:
        """A signal to the program itself, not to its children."""
        self.popen.send_signal(number)

    def wait(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Its exit status (negative: the signal that ended it)."""
        try:
            return self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            shown = " ".join(self.command)
            raise WaitedInVain(
                f"{shown} still runs after {timeout_s:g} s\n{self.output()}"
            ) from None

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """TERM, then wait for the end; whatever happens, its process group is gone after this."""
        try:
            if self.is_running():
                self.send(signal.SIGTERM)
            return self.wait(timeout_s)
        finally:
            self.kill()

    def kill(self) -> None:
        """KILL to the whole process group."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self.popen.wait()


class Reaper:
    """Starts processes, shows their logs when something went wrong, and leaves none behind."""

    def __init__(self) -> None:
        self.token = uuid.uuid4().hex
        self._started: list[Process] = []

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """What a process gets: ours without what makes tests differ, and the token."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "LISTEN_"))}
        return {**kept, "PYTHONUNBUFFERED": "1", TOKEN_NAME: self.token, **(extra or {})}

    def start(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        pass_fds: Sequence[int] = (),
        stdin: Path | None = None,
    ) -> Process:
        """Start a program; it is ended at the latest with the test."""
        process = Process(
            command, log=log, env=self.environment(env), cwd=cwd, pass_fds=pass_fds, stdin=stdin
        )
        self._started.append(process)
        return process

    def left(self) -> list[int]:
        """Ids of live processes that carry the token."""
        return [pid for pid in process_ids() if self._is_ours(pid)]

    def _is_ours(self, pid: int) -> bool:
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return False
        return state != "Z" and f"{TOKEN_NAME}={self.token}".encode() in environment.split(b"\0")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in reversed(self._started):
            with suppress(WaitedInVain):
                process.stop()
        if kind is not None:
            self.show_logs()
        stray: list[int] = []
        try:
            wait_for(lambda: not self.left(), timeout_s=1.0)
        except WaitedInVain:
            stray = self.left()
            names = {pid: describe(pid) for pid in stray}
            for pid in stray:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.show_logs()
            raise AssertionError(f"processes were left behind: {names}") from error

    def show_logs(self) -> None:
        """Print the end of every log: pytest shows it with a failure."""
        for log in dict.fromkeys(process.log for process in self._started):
            print(f"---- {log}")
            print(log.read_text(errors="replace")[-20_000:])


@contextmanager
def reaping(request: pytest.FixtureRequest) -> Iterator[Reaper]:
    """A Reaper for a fixture of any scope: shows its logs when a test failed meanwhile."""
    failed_before = request.session.testsfailed
    with Reaper() as reaper:
        yield reaper
        if request.session.testsfailed > failed_before:
            reaper.show_logs()


def process_ids() -> list[int]:
    """Ids of all processes of the machine."""
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]


def children(pid: int) -> list[int]:
    """Ids of the live child processes of a process."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        lists = [(task / "children").read_text() for task in tasks]
    except OSError:
        return []
    return [int(word) for text in lists for word in text.split()]


def describe(pid: int) -> str:
    """The command line of a process; empty when it has ended."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    return b" ".join(words).decode(errors="replace")
