"""The supervisor: validates, opens what workers share, forks them and keeps them alive.

It runs no event loop and opens no TLS context or database for longer than a call, so that a fork
is always clean. Its loop waits for signals, for workers, and for questions on the control socket.

Order at start: configuration → hook host started → data directory locked → listeners opened →
privileges dropped, if started as root → directory and certificates validated → database made,
what chasquid left taken over, stale leases released → workers forked → `listeners.json` written
once all are ready.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import selectors
import signal
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relevo import __version__
from relevo.config import ConfigErrors
from relevo.delivery import InvalidPattern
from relevo.directory import DirectoryErrors
from relevo.hooks.statistics import HookStatistics
from relevo.journal import Listening, MailLogUnavailable
from relevo.queue import DatabaseError, create_database, release_owner, start_over
from relevo.reception import ConnectionTable
from relevo.service import worker
from relevo.service.certificates import CertificateError, expiries
from relevo.service.control import ControlSocket
from relevo.service.counters import Counters
from relevo.service.data_dir import DataDirError, DataDirLock
from relevo.service.forking import SIGNALS, fork
from relevo.service.hook_host import HookHost
from relevo.service.listeners import MONITORING, ListenFailed, address_of, open_sockets
from relevo.service.logs import LogUnavailable, hand_over_log, open_maillog, setup_logging
from relevo.service.monitoring import Monitoring, MonitoringSetup, TokenUnusable
from relevo.service.privileges import NoSuchUser, become, service_user
from relevo.service.restart import keys_for_a_restart, refuse_another_data_dir
from relevo.service.strays import adopt_strays, end_strays
from relevo.service.takeover import take_over_at_start
from relevo.service.validation import validate

if TYPE_CHECKING:
    from collections.abc import Callable

    from relevo.config import Config

logger = logging.getLogger("relevo.supervisor")

_MAX_BACK_OFF = 30.0  # seconds before a worker that keeps dying is started again
_HEALTHY = 60.0  # a worker that lived this long starts again at once
_KILL_AFTER = 5.0  # seconds beyond the grace period
_RETRY = 1.0  # seconds, when the system gives us no process
_FATAL = (signal.SIGTERM, signal.SIGKILL)


class StartFailed(Exception):
    """The server cannot start; the text says why and what to do."""


@dataclass(slots=True)
class _Slot:
    """One worker's place."""

    row: int
    pid: int = 0
    started: float = 0.0
    is_ready: bool = False
    is_stale: bool = False  # a reload came before it was ready to hear of it
    ready_fd: int = -1
    failures: int = 0
    restarts: int = 0
    start_at: float = 0.0


class Supervisor:
    """One server: `start()`, then `run()` until it is told to stop."""

    def __init__(self, load_config: Callable[[], Config]) -> None:
        self._load_config = load_config
        self._config = self._started_with = load_config()
        self._slots: list[_Slot] = []
        self._selector = selectors.DefaultSelector()
        self._is_stopping = False
        self._has_been_ready = False
        self._kill_at = 0.0
        self._started = time.time()
        self.on_ready: Callable[[dict[str, list[str]]], None] = lambda _: None

    def run(self) -> int:
        """Start, supervise, stop; 0 after TERM or INT. Raises StartFailed, ConfigErrors."""
        try:
            setup_logging(self._config)
            self._hook_host = HookHost(self._config)  # while nothing is open
        except LogUnavailable as error:
            raise StartFailed(str(error)) from error
        except OSError as error:
            raise StartFailed(f"cannot start the hook host: {error}") from error
        try:
            return self._run(self._config)
        finally:
            self._hook_host.stop()

    def _run(self, config: Config) -> int:
        try:
            user = service_user(config)
            self._lock = DataDirLock(config.data_dir, user)
            self._sockets = open_sockets(config, os.environ)
            if user is not None:
                hand_over_log(config, user)
                become(user)
            self._watcher = validate(config)
            create_database(config.data_dir)
            take_over_at_start(config, self._watcher.current)
            start_over(config.data_dir, time.time())
            self._control = ControlSocket(config.data_dir, self.answer)
        except (
            ListenFailed,
            DataDirError,
            DatabaseError,
            CertificateError,
            DirectoryErrors,
            InvalidPattern,
            LogUnavailable,
            MailLogUnavailable,
            NoSuchUser,
            TokenUnusable,
        ) as error:
            raise StartFailed(str(error)) from error
        count = config.server.workers or os.cpu_count() or 1
        self._connections = ConnectionTable(count)
        self._counters = Counters(count)
        self._hook_statistics = HookStatistics(count)
        self._slots = [_Slot(row) for row in range(count)]
        self._monitoring = Monitoring(self._sockets.monitoring)
        adopt_strays()
        self._watch_signals()
        self._selector.register(self._control.socket, selectors.EVENT_READ, self._control.serve)
        self._watch_hook_host()
        gc.collect()
        gc.freeze()  # what exists now is shared with the workers: never touch it by collecting
        for slot in self._slots:
            self._start_worker(slot)
        self._start_monitoring()
        logger.info(
            "relevo %s started: %d workers, data in %s", __version__, count, config.data_dir
        )
        while not (self._is_stopping and not any(slot.pid for slot in self._slots)):
            self._wait()
        self._clean_up()
        return 0

    # -- the loop

    def _watch_signals(self) -> None:
        receiver, sender = socket.socketpair()
        receiver.setblocking(False)
        sender.setblocking(False)
        self._signals = receiver
        signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
        self._signal_sender = sender
        for number in SIGNALS:
            signal.signal(number, lambda _number, _frame: None)
        self._selector.register(receiver, selectors.EVENT_READ, self._on_signals)

    def _wait(self) -> None:
        now = time.monotonic()
        due = [slot.start_at for slot in self._slots if not slot.pid and not self._is_stopping]
        if not self._hook_host.pid and not self._is_stopping:
            due.append(self._hook_host.start_at)
        if self._monitoring.is_wanted and not self._is_stopping:
            due.append(self._monitoring.start_at)
        if self._is_stopping:
            due.append(self._kill_at)
        timeout = max(0.0, min(due) - now) if due else None
        for key, _ in self._selector.select(timeout):
            self._do(key.data)
        now = time.monotonic()
        if self._is_stopping:
            if now >= self._kill_at:
                self._signal_workers(signal.SIGKILL)
                self._kill_at = now + _RETRY
            return
        if not self._hook_host.pid and self._hook_host.start_at <= now:
            self._start_hook_host()
        if self._monitoring.is_wanted and self._monitoring.start_at <= now:
            self._start_monitoring()
        for slot in self._slots:
            if not slot.pid and slot.start_at <= now:
                self._start_worker(slot)

    def _do(self, action: Callable[[], object]) -> None:
        """The border: all workers end with their supervisor, so no error ends it."""
        try:
            action()
        except Exception:
            logger.exception("unexpected error, the supervisor goes on")

    def _start_hook_host(self) -> None:
        try:
            self._hook_host.start()
        except OSError as error:
            logger.error("cannot start the hook host, trying again soon: %s", error)  # noqa: TRY400
        else:
            self._watch_hook_host()

    def _start_monitoring(self) -> None:
        setup = MonitoringSetup(
            config=self._config,
            supervisor=os.getpid(),
            started=self._started,
            sockets=self._sockets.monitoring,
            addresses=self._addresses(),
            counters=self._counters,
            connections=self._connections,
            hook_statistics=self._hook_statistics,
        )
        self._monitoring.start(setup, self._leave_for_monitoring)

    def _leave_for_monitoring(self) -> None:
        self._leave_supervision()
        for listener in self._sockets.listeners:
            listener.socket.close()
        self._hook_host.sockets.close()

    def _watch_hook_host(self) -> None:
        host = self._hook_host
        self._selector.register(host.control, selectors.EVENT_READ, host.read_control)

    def _on_signals(self) -> None:
        for number in set(self._signals.recv(4096)):
            match signal.Signals(number):
                case signal.SIGTERM | signal.SIGINT:
                    self._do(self.stop)
                case signal.SIGHUP:
                    self._do(self.reload)
                case signal.SIGCHLD:
                    self._do(self._reap)
                case _:
                    pass

    # -- workers

    def _start_worker(self, slot: _Slot) -> None:
        try:
            self._fork(slot)
        except OSError as error:
            slot.start_at = time.monotonic() + _RETRY
            logger.error("cannot start worker %d, trying again soon: %s", slot.row, error)  # noqa: TRY400

    def _fork(self, slot: _Slot) -> None:
        """Start a worker. Raises OSError."""
        ready, report = os.pipe()

        def live() -> int:
            os.close(ready)
            self._leave_supervision()
            return worker.run(
                worker.WorkerSetup(
                    row=slot.row,
                    config=self._config,
                    load_config=self._load_config,
                    listeners=self._sockets.listeners,
                    connections=self._connections,
                    counters=self._counters,
                    ready_fd=report,
                    hook_sockets=self._hook_host.sockets,
                    hook_statistics=self._hook_statistics,
                )
            )

        try:
            slot.pid = fork(live, f"worker {slot.row}")
        except OSError:
            os.close(ready)
            raise
        finally:
            os.close(report)
        slot.started, slot.ready_fd = time.monotonic(), ready
        slot.is_ready = slot.is_stale = False
        self._publish(slot)
        self._selector.register(ready, selectors.EVENT_READ, lambda: self._on_report(slot))

    def _publish(self, slot: _Slot) -> None:
        """What monitoring is to know of the worker."""
        is_ready = slot.is_ready and not self._is_stopping
        for name, value in (("pid", slot.pid), ("is_ready", is_ready), ("restarts", slot.restarts)):
            self._counters.put(slot.row, name, int(value))

    def _leave_supervision(self) -> None:
        """In the child: nothing of the supervisor's loop stays."""
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, int):
                os.close(key.fileobj)
        self._selector.close()
        self._signals.close()
        self._signal_sender.close()
        self._control.socket.close()
        self._hook_host.leave()

    def _on_report(self, slot: _Slot) -> None:
        if slot.ready_fd < 0:
            return  # its death was seen first, in the same round
        slot.is_ready = os.read(slot.ready_fd, 1) == b"r"
        self._publish(slot)
        self._forget_report(slot)
        if slot.is_ready and slot.is_stale:
            self._signal_workers(signal.SIGHUP)
        if all(other.is_ready for other in self._slots):
            self._announce()

    def _forget_report(self, slot: _Slot) -> None:
        if slot.ready_fd >= 0:
            self._selector.unregister(slot.ready_fd)
            os.close(slot.ready_fd)
            slot.ready_fd = -1

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._hook_host.pid:
                self._selector.unregister(self._hook_host.control)
                self._hook_host.on_death(os.waitstatus_to_exitcode(status))
                end_strays([self._monitoring.pid, *(slot.pid for slot in self._slots)])
            if pid == self._monitoring.pid:
                self._monitoring.on_death(os.waitstatus_to_exitcode(status))
            for slot in self._slots:
                if slot.pid == pid:
                    self._on_death(slot, os.waitstatus_to_exitcode(status))

    def _on_death(self, slot: _Slot, code: int) -> None:
        self._forget_report(slot)
        lived = time.monotonic() - slot.started
        pid, slot.pid, slot.is_ready = slot.pid, 0, False
        self._connections.clear(slot.row)
        self._counters.put(slot.row, "is_suspended", 0)
        self._publish(slot)
        if code != 0:  # one that ended in order has ended its commands
            own = (self._hook_host.pid, self._monitoring.pid)
            end_strays([*own, *(other.pid for other in self._slots)])
        if self._is_stopping:
            if code != 0:
                logger.warning("worker %d (process %d) ended with %d", slot.row, pid, code)
            return
        slot.failures = 0 if lived > _HEALTHY else slot.failures + 1
        slot.restarts += 1
        self._publish(slot)
        delay = min(0.1 * 2 ** (slot.failures - 1), _MAX_BACK_OFF) if slot.failures > 1 else 0.0
        slot.start_at = time.monotonic() + delay
        logger.error(
            "worker %d (process %d) died with %d after %.1f s; starting again in %.1f s",
            slot.row, pid, code, lived, delay,
        )  # fmt: skip
        try:
            release_owner(self._config.data_dir, slot.row)
        except DatabaseError as error:
            logger.error("cannot release what worker %d was delivering: %s", slot.row, error)  # noqa: TRY400
        self._signal_workers(signal.SIGUSR1)

    def _signal_workers(self, number: signal.Signals) -> None:
        for slot in self._slots:
            if slot.pid and (slot.is_ready or number in _FATAL):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(slot.pid, number)
            if number == signal.SIGHUP:
                slot.is_stale = not slot.is_ready

    # -- commands

    def stop(self) -> None:
        """Drain and end."""
        if self._is_stopping:
            return
        self._is_stopping = True
        self._kill_at = time.monotonic() + self._config.server.grace.total_seconds() + _KILL_AFTER
        for listener in self._sockets.listeners:
            listener.socket.close()
        for slot in self._slots:
            self._publish(slot)
        self._signal_workers(signal.SIGTERM)

    def reload(self) -> list[str]:
        """Validate, then let the workers re-read; the problems that refused it, else none."""
        try:
            config = self._load_config()
            refuse_another_data_dir(self._started_with, config)
            watcher = validate(config)
            setup_logging(config)
        except (
            ConfigErrors,
            CertificateError,
            DirectoryErrors,
            InvalidPattern,
            LogUnavailable,
            MailLogUnavailable,
            TokenUnusable,
        ) as error:
            logger.error("reload refused, everything stays as it was: %s", error)  # noqa: TRY400
            return str(error).splitlines()
        self._config, self._watcher = config, watcher
        if keys := keys_for_a_restart(self._started_with, config):
            logger.warning("a restart is needed for %s", ", ".join(keys))
        self._hook_host.reconfigure(config)
        self._monitoring.replace()
        self._signal_workers(signal.SIGHUP)
        return []

    def answer(self, request: str) -> dict[str, object]:
        """A question on the control socket."""
        if request == "reload":
            problems = self.reload()
            keys = keys_for_a_restart(self._started_with, self._config)
            return {"problems": problems, "restart_needed": keys}
        if request == "status":
            return self.status()
        if request == "wake":
            self._signal_workers(signal.SIGUSR1)
            return {}
        return {"error": f"unknown request {request[:40]!r}"}

    def status(self) -> dict[str, object]:
        """What `relevo status` shows."""
        self._watcher.refresh(time.time())
        return {
            "version": __version__,
            "pid": os.getpid(),
            "uptime": round(time.time() - self._started, 1),
            "data_dir": str(self._config.data_dir),
            "listeners": self._addresses(),
            "workers": [
                {
                    "pid": slot.pid,
                    "ready": slot.is_ready,
                    "restarts": slot.restarts,
                    "counters": self._counters.read_row(slot.row),
                }
                for slot in self._slots
            ],
            "hooks": [figures.as_dict() for figures in self._hook_statistics.read()],
            "hook_host": {"pid": self._hook_host.pid, "restarts": self._hook_host.restarts},
            "monitoring": {"pid": self._monitoring.pid},
            "connections": self._connections.total(),
            "counters": self._counters.read(),
            "certificates": expiries(self._config.config_dir / "certs"),
            "problems": [str(problem) for problem in self._watcher.problems],
        }

    # -- what others see

    def _addresses(self) -> dict[str, list[str]]:
        addresses: dict[str, list[str]] = {"smtp": [], "submission": [], "submission_tls": []}
        for listener in self._sockets.listeners:
            addresses[listener.key].append(listener.address)
        if self._sockets.monitoring:
            addresses[MONITORING] = [address_of(sock) for sock in self._sockets.monitoring]
        return addresses

    def _announce(self) -> None:
        """All workers accept connections: tell whoever waits for it."""
        addresses = self._addresses()
        path = self._config.data_dir / "listeners.json"
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps({"pid": os.getpid(), **addresses}))
        temporary.rename(path)
        if not self._has_been_ready:
            self._has_been_ready = True
            log = open_maillog(self._config, call_soon=None)
            for listener in self._sockets.listeners:
                log.write(Listening(time.time(), listener.address, listener.mode.value))
            log.close()
            self.on_ready(addresses)

    def _clean_up(self) -> None:
        self._monitoring.stop()
        self._control.close()
        with contextlib.suppress(OSError):
            (self._config.data_dir / "listeners.json").unlink()
        self._lock.close()
        logger.info("stopped")
