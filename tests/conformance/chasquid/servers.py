"""Starts either server, relevo or Debian's chasquid, on the same config directory.

A dialogue test sees only `Server`: where to connect, what the MDA was given, what the mail log
says. Which of the two it talks to is the test's column.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.chasquid.dialogue import Client, Closed, Silence
from harness.debian import program
from harness.waiting import WaitedInVain, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from conformance.chasquid.configdir import ConfigDir

RELEVO = Path(sys.executable).with_name("relevo")
START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0

# chasquid's resolver cannot be told a port, so it gets an empty resolv.conf in a mount namespace
# of its own: every look-up then fails at once on loopback, as with DNS down.
WITHOUT_DNS = ("sh", "-c", 'mount --bind /dev/null /etc/resolv.conf && exec "$0" "$@"')

# relevo can: nobody listens there, so look-ups fail at once as well.
NO_NAME_SERVER = "dns.servers=127.0.0.1:1"

# Takes the sockets where systemd would put them, from descriptor 3 on, and says whose they are.
SOCKET_ACTIVATION = """
import fcntl, os, sys
count, names = int(sys.argv[1]), sys.argv[2]
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(count), LISTEN_FDNAMES=names)
handed = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 64) for fd in sys.argv[3].split(",")]
for number, fd in enumerate(handed, 3):
    os.dup2(fd, number, inheritable=True)
os.execvp(sys.argv[4], sys.argv[4:])
"""


class Column(Enum):
    RELEVO = "relevo"
    CHASQUID = "chasquid"


class StartRefused(Exception):
    """The server ended before it was ready; the text is what it printed."""

    def __init__(self, status: int, output: str) -> None:
        super().__init__(f"exit status {status}:\n{output}")
        self.status = status
        self.output = output


@dataclass(frozen=True, slots=True)
class Settings:
    """What the config directory has no key for: --set of relevo, flags of chasquid."""

    relevo: tuple[str, ...] = ()
    chasquid: tuple[str, ...] = ()

    def __add__(self, other: Settings) -> Settings:
        return Settings(self.relevo + other.relevo, self.chasquid + other.chasquid)


RELOAD_PERIOD_S = 1
FAST_RELOAD = Settings(
    (f"reload.interval={RELOAD_PERIOD_S}s",), (f"-testing__reload_every={RELOAD_PERIOD_S}s",)
)


@dataclass(frozen=True, slots=True)
class NameService:
    """Zones that the server finds by DNS: as relevo is told of them, as chasquid is."""

    setting: str
    prefix: Sequence[str]


@dataclass(frozen=True, slots=True)
class Sockets:
    """Listening sockets handed over as systemd does: name of the listener → descriptor."""

    descriptors: Mapping[str, int] = field(default_factory=dict)

    def wrap(self, command: list[str]) -> list[str]:
        if not self.descriptors:
            return command
        names = ":".join(self.descriptors)
        numbers = ",".join(str(fd) for fd in self.descriptors.values())
        count = str(len(self.descriptors))
        return [sys.executable, "-c", SOCKET_ACTIVATION, count, names, numbers, *command]


@functools.cache
def without_dns() -> tuple[str, ...]:
    """The prefix that hides DNS from a program, or nothing where namespaces are not allowed."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return ()
    prefix = (unshare, "--map-root-user", "--mount", *WITHOUT_DNS)
    tried = subprocess.run([*prefix, "true"], capture_output=True, check=False, timeout=10)
    return prefix if tried.returncode == 0 else ()


class Server:
    """A server process on a config directory; a context manager that leaves nothing running."""

    def __init__(
        self,
        column: Column,
        config: ConfigDir,
        settings: Settings | None = None,
        sockets: Sockets | None = None,
        names: NameService | None = None,
        first: bytes = b"",
    ) -> None:
        """Without `names`, every look-up in DNS fails; `first` opens each SMTP connection."""
        self.column = column
        self.config = config
        self._settings = settings or Settings()
        self._sockets = sockets or Sockets()
        self._names = names
        self._first = first
        self._process: subprocess.Popen[bytes] | None = None
        self._output = config.path.parent / "output.log"
        self._mark = 0

    # the process

    def _command(self) -> list[str]:
        config_dir = str(self.config.path)
        match self.column:
            case Column.CHASQUID:
                command = [
                    str(program("chasquid")),
                    "-config_dir",
                    config_dir,
                    *self._settings.chasquid,
                ]
                prefix = self._names.prefix if self._names else without_dns()
                return self._sockets.wrap([*prefix, *command])
            case Column.RELEVO:
                command = [str(RELEVO), "serve", "--config-dir", config_dir]
                names = self._names.setting if self._names else NO_NAME_SERVER
                for setting in (names, *self._settings.relevo):
                    command += ["--set", setting]
                return self._sockets.wrap(command)

    def start(self) -> None:
        """Return when the server answers; raises StartRefused when it ends instead."""
        assert self._process is None
        self._ready_file.unlink(missing_ok=True)
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.config.path.parent,
                env={**os.environ, "TZ": "UTC"},
                pass_fds=tuple(self._sockets.descriptors.values()),
                start_new_session=True,
            )
        try:
            self._wait_until_ready(self._process)
        except BaseException:
            self.stop()
            raise

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        def is_ready() -> bool:
            status = process.poll()
            if status is not None:
                self._process = None
                raise StartRefused(status, self.output)
            return self._is_ready()

        wait_for(is_ready, timeout_s=START_TIMEOUT_S, what=f"{self.column.value} to be ready")

    @property
    def _ready_file(self) -> Path:
        """Written by relevo when all of its workers are ready."""
        return self.config.data_dir / "listeners.json"

    def _is_ready(self) -> bool:
        match self.column:
            case Column.RELEVO:
                try:
                    listeners = json.loads(self._ready_file.read_bytes())
                except (FileNotFoundError, json.JSONDecodeError):
                    return False
                return "pid" in listeners
            case Column.CHASQUID:
                try:
                    Client(self.config.smtp, timeout=5, first=self._first).close()
                except (OSError, Closed, Silence):
                    return False
                return True

    def stop(self) -> None:
        """TERM, and then KILL for whatever is left of its process group (a running MDA)."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running {STOP_TIMEOUT_S} s after TERM") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def restart(self) -> None:
        self.stop()
        self.start()

    def hang_up(self) -> None:
        """HUP: re-read users and aliases, reopen the logs."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def output(self) -> str:
        """Everything the process has printed, its daemon log included."""
        return self._output.read_text(errors="replace") if self._output.exists() else ""

    def mark_output(self) -> None:
        self._mark = len(self.output)

    def output_since_mark(self) -> str:
        return self.output[self._mark :]

    def wait_for_output(self, pattern: str, *, timeout: float = 10) -> None:
        """Until the server has printed what the regular expression describes."""
        try:
            wait_for(lambda: re.search(pattern, self.output), timeout_s=timeout)
        except WaitedInVain:
            raise AssertionError(f"{pattern} is not in:\n{self.output}") from None

    # talking to it

    def connect(self, *, tls: bool = False, timeout: float = 10) -> Client:
        """To the smtp listener; `tls` starts TLS there, without an EHLO after it."""
        client = Client(self.config.smtp, timeout=timeout, first=self._first)
        if tls:
            client.ehlo()
            client.starttls()
        return client

    def connect_submission(self) -> Client:
        return Client(self.config.submission)

    def connect_submission_tls(self) -> Client:
        return Client(self.config.submission_tls, tls=True)

    @contextlib.contextmanager
    def session(self) -> Iterator[Client]:
        """An unauthenticated client that has said EHLO."""
        with self.connect() as client:
            client.ehlo()
            yield client

    @contextlib.contextmanager
    def authenticated(self) -> Iterator[Client]:
        """A client on the smtp listener, on TLS, logged in as user@d1.test."""
        with self.connect(tls=True) as client:
            client.ehlo()
            client.login()
            yield client

    def final_targets(self, recipient: str, marker: str, count: int = 1) -> list[str]:
        """Deliver one message and name the final addresses it was tried for, sorted.

        The mail log is the one place where both servers name local, remote and via targets.
        """
        sender = f"{marker}@pass.test"
        with self.session() as client:
            client.deliver([recipient], sender=sender)
        lines = self.config.wait_for_log(f"from={sender} to=", count=count)
        return sorted({line.split(" to=", 1)[1].split(" ", 1)[0] for line in lines})


@contextlib.contextmanager
def running(server: Server) -> Iterator[Server]:
    """Start it and leave nothing running."""
    server.start()
    try:
        yield server
    finally:
        server.stop()
