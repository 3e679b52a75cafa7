"""The supervisor's side of the hook host: started before anything is opened, kept alive, stopped.

The sockets between workers and launchers are made once and outlive the host, so a host that died
is replaced without the workers noticing more than a call or two that failed. One that gives no sign
of life for `server.hang_timeout` is killed, so that it is replaced like one that died.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from typing import TYPE_CHECKING

from relevo.hooks.contract import Stage
from relevo.hooks.host import PoolSockets, encode_settings, start_host
from relevo.hooks.programs import Form, Programs
from relevo.hooks.settings import pool_settings
from relevo.service.heartbeat import HangWatch, Heartbeats

if TYPE_CHECKING:
    from relevo.config import Config

logger = logging.getLogger("relevo.hooks")

_STOP_PATIENCE = 5.0
_SHORT_LIFE = 1.0


class HookHost:
    """One host at a time; the sockets are for the workers."""

    def __init__(self, config: Config) -> None:
        self.sockets = PoolSockets.make()
        self._settings = pool_settings(config)
        self._beats = Heartbeats(1)
        self.hang_watch = HangWatch(self._beats, config.server.hang_timeout.total_seconds())
        self.pid = 0
        self.restarts = -1
        self.start_at = 0.0  # when to start the next one, if there is none
        self.start()
        _report_hooks(config)

    def start(self) -> None:
        """Start the host. Raises OSError; then `start_at` says when to try again."""
        self.start_at = time.monotonic() + _SHORT_LIFE
        self.pid, self.control = start_host(self.sockets, self._settings)
        self.restarts += 1
        self._beats_before = self._beats.read(0)
        self.hang_watch.start_anew(0)
        self._is_of_root = os.geteuid() == 0
        self._started = time.monotonic()

    @property
    def has_privileges(self) -> bool:
        """It is root, to run hooks as other users, and we are not any more."""
        is_for_others = any(each.run_as for each in self._settings)
        return is_for_others and self._is_of_root and os.geteuid() != 0

    def reconfigure(self, config: Config) -> None:
        """Tell the host the pools of a new configuration."""
        self._settings = pool_settings(config)
        if self.pid:
            with contextlib.suppress(OSError):
                self.control.sendall(encode_settings(self._settings) + b"\n")

    def read_control(self) -> None:
        """What the host says goes to the log, and whatever it says is a sign of life."""
        with contextlib.suppress(OSError):
            said = self.control.recv(65536).decode("utf-8", "replace")
            if said:
                self._beats.beat(0)
            for line in filter(None, said.splitlines()):
                logger.warning("%s", line)

    def next_look(self, now: float) -> float | None:
        """When `look` is to be called; None: never."""
        return self.hang_watch.next_look(now) if self.pid else None

    def look(self, now: float) -> None:
        """Kill the host if it hangs; what runs below it is then killed as well."""
        if not self.pid or not self.hang_watch.hanging((0,), now):
            return
        if self._beats.read(0) == self._beats_before:
            return  # it is just starting
        self.hang_watch.start_anew(0)
        logger.error("the hook host hangs; ending it")
        try:
            os.kill(self.pid, signal.SIGKILL)
        except PermissionError:
            logger.error("the hook host is root's and cannot be ended; kill %d", self.pid)  # noqa: TRY400

    def on_death(self, code: int) -> None:
        """The process has ended and was reaped; `start` may be called from `start_at` on."""
        self.control.close()
        self.pid = 0
        now = time.monotonic()
        self.start_at = now + (_SHORT_LIFE if now - self._started < _SHORT_LIFE else 0.0)
        logger.error("the hook host ended with %d; starting another", code)

    def leave(self) -> None:
        """In a child of the supervisor's: only the workers' ends stay."""
        self.control.close()
        for each in self.sockets.launchers:
            each.close()

    def stop(self) -> None:
        """End the host and every hook, waiting a moment for it."""
        self.control.close()  # this is what tells it; we may not be allowed to signal it
        if self.pid and not _ended_within(self.pid, _STOP_PATIENCE):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, signal.SIGKILL)
            _ended_within(self.pid, 1.0)
        self.pid = 0
        self.sockets.close()


def _report_hooks(config: Config) -> None:
    """Say once which hooks there are, and that an alias-exists counts."""
    programs = Programs(config)
    found = {stage: programs.of(stage) for stage in Stage}
    for stage, hooks in found.items():
        if hooks:
            logger.info("%s: %s", stage.value, ", ".join(hook.name for hook in hooks))
    if any(hook.form is Form.V1 for hook in found[Stage.ALIAS_EXISTS]):
        logger.warning(
            "hooks/alias-exists is in use and decides at RCPT which unknown addresses exist; "
            "chasquid has ignored it since 1.9: remove it if it is a leftover"
        )


def _ended_within(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return True
        except ChildProcessError:
            return True
        time.sleep(0.005)
    return False
