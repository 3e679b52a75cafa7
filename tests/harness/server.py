"""relevo, started for real."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.config_dir import (
    STANDARD_DOMAINS,
    ConfigDir,
    Domain,
    Setting,
    relevo_config,
)
from harness.dialog import Dialog
from harness.processes import Process, Reaper, children
from harness.waiting import wait_for

RELEVO = Path(sys.executable).with_name("relevo")
START_TIMEOUT_S = 20.0


class Address(NamedTuple):
    """Where a listener is."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class ServerDidNotStart(AssertionError):
    """The server ended, or was not ready in time; its log is the text."""


class RelevoServer:
    """`relevo serve` over a config directory.

    Ready when its `listeners.json` names the process just started, which it writes when all workers
    are ready. May be stopped and started again over the same directory.
    """

    def __init__(
        self,
        reaper: Reaper,
        config: ConfigDir,
        *,
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.config = config
        self.options = tuple(options)
        self.env = dict(env or {})
        self.log = config.path / "server.log"
        self.reaper = reaper
        self._process: Process | None = None
        self._listeners: dict[str, list[str]] = {}

    @property
    def process(self) -> Process:
        assert self._process is not None, "the server was not started"
        return self._process

    @property
    def command(self) -> list[str]:
        return [str(RELEVO), "serve", "--config-dir", str(self.config.path), *self.options]

    def launch(self, *, pass_fds: Sequence[int] = (), wrapper: Sequence[str] = ()) -> Process:
        """Start the program without waiting for it; `wrapper` stands in front of the command."""
        self._process = self.reaper.start(
            [*wrapper, *self.command],
            log=self.log,
            cwd=self.config.path,
            env=self.env,
            pass_fds=pass_fds,
        )
        return self._process

    def start(self, *, pass_fds: Sequence[int] = (), wrapper: Sequence[str] = ()) -> RelevoServer:
        """Start, and wait until it serves."""
        process = self.launch(pass_fds=pass_fds, wrapper=wrapper)
        self._listeners = wait_for(
            lambda: self._read_listeners(process), timeout_s=START_TIMEOUT_S, what="listeners.json"
        )
        return self

    def _read_listeners(self, process: Process) -> dict[str, list[str]] | None:
        if not process.is_running():
            text = f"{' '.join(process.command)} ended with {process.popen.returncode}"
            raise ServerDidNotStart(f"{text}\n{process.output()}")
        try:
            entry = json.loads((self.config.data / "listeners.json").read_text())
        except FileNotFoundError:
            return None
        # a wrapper such as strace is the parent of the server, not the server
        if entry.pop("pid") not in {process.pid, *children(process.pid)}:
            return None
        listeners: dict[str, list[str]] = entry
        return listeners

    def _address(self, name: str) -> Address:
        host, _, port = self._listeners[name][0].rpartition(":")
        return Address(host.strip("[]"), int(port))

    @property
    def smtp(self) -> Address:
        return self._address("smtp")

    @property
    def submission(self) -> Address:
        return self._address("submission")

    @property
    def submission_tls(self) -> Address:
        return self._address("submission_tls")

    @property
    def monitoring(self) -> Address:
        return self._address("monitoring")

    def dialog(self) -> Dialog:
        """A connection to the SMTP listener."""
        return Dialog(self.smtp)

    def mail_log(self) -> str:
        """The mail log so far."""
        path = self.config.mail_log
        return path.read_text(errors="replace") if path.exists() else ""

    def wait_for_log(self, text: str, *, after: int = 0, timeout_s: float = 10.0) -> None:
        """Until the server's own log has `text` behind octet `after`."""
        wait_for(
            lambda: text in self.process.output()[after:],
            timeout_s=timeout_s,
            what=f"{text!r} in the log",
        )

    def status(self) -> dict[str, Any]:
        """What `relevo status --json` prints."""
        folder = self.config.path
        process = run_relevo(self.reaper, "status", "--config-dir", folder, "--json", folder=folder)
        assert process.popen.returncode == 0, process.output()
        answer: dict[str, Any] = json.loads(process.output())
        return answer

    def workers(self) -> set[int]:
        """Ids of the worker processes (the supervisor may have other children)."""
        return {worker["pid"] for worker in self.status()["workers"]}

    def reload(self) -> None:
        """HUP."""
        self.process.send(signal.SIGHUP)

    def stop(self, timeout_s: float = 10.0) -> int:
        """TERM, and its exit status."""
        return self.process.stop(timeout_s)


class RelevoFactory:
    """What the `start_relevo` fixture gives: makes config directories and starts servers there."""

    def __init__(self, reaper: Reaper, folder: Path) -> None:
        self.reaper = reaper
        self.folder = folder

    def __call__(
        self,
        *,
        name: str = "relevo",
        domains: Mapping[str, Domain] = STANDARD_DOMAINS,
        settings: Mapping[str, Setting] | None = None,
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> RelevoServer:
        """A server that serves, over a new directory `name`."""
        config = relevo_config(self.folder / name, domains=domains, settings=settings)
        return RelevoServer(self.reaper, config, options=options, env=env).start()


def run_relevo(
    reaper: Reaper, *arguments: str | Path, folder: Path, stdin: str | None = None
) -> Process:
    """Another `relevo` command, run to its end in `folder`; look at its status and output."""
    number = len(list(folder.glob("command-*.log")))
    source = None
    if stdin is not None:
        source = folder / f"command-{number}.stdin"
        source.write_text(stdin)
    log = folder / f"command-{number}.log"
    process = reaper.start([RELEVO, *arguments], log=log, cwd=folder, stdin=source)
    process.wait(30)
    return process
