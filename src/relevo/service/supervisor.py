"""The supervisor: validates, opens what workers share, forks them and keeps them alive.

It runs no event loop and opens no TLS context or database for longer than a call, so that a fork
is always clean. Its loop waits for signals, for workers, and for questions on the control socket.

Order at start: configuration → hook host started → data directory locked → listeners opened →
privileges dropped, if started as root → directory and certificates validated → database made,
what chasquid left taken over, stale leases released → workers forked → `listeners.json` written
once all are ready.

A restart is a stop after which the process goes on as the program and the configuration that are
on disk then (see `handover`). It begins when a trial of them has ended well.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import signal
import time
from enum import Enum
from typing import TYPE_CHECKING

from relevo import __version__
from relevo.config import ConfigErrors
from relevo.journal import Listening
from relevo.queue import StoreState, create_database, start_over
from relevo.service.certificates import expiries
from relevo.service.control import ControlSocket
from relevo.service.data_dir import DataDirLock
from relevo.service.descriptors import raise_limit
from relevo.service.forking import SIGNALS
from relevo.service.handover import Handover
from relevo.service.hook_host import HookHost
from relevo.service.listeners import MONITORING, address_of, open_sockets
from relevo.service.logs import LogUnavailable, hand_over_log, open_maillog, setup_logging
from relevo.service.monitoring import Monitoring, MonitoringSetup
from relevo.service.notify import Notifier
from relevo.service.penalties import answer_on_penalties
from relevo.service.privileges import become, service_user
from relevo.service.restart import as_running, keys_for_a_restart, refuse_another_data_dir
from relevo.service.restarting import Restarting, hold_back_endings
from relevo.service.shared_tables import SharedTables
from relevo.service.start_failure import UNUSABLE_FILES, StartFailed, failing_to_start
from relevo.service.strays import adopt_strays, end_strays
from relevo.service.takeover import take_over_at_start
from relevo.service.validation import validate
from relevo.service.wakeups import Wakeups
from relevo.service.worker import WorkerSetup
from relevo.service.workers import Surroundings, Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from relevo.config import Config

logger = logging.getLogger("relevo.supervisor")

_KILL_AFTER = 5.0  # seconds beyond the grace period
_RETRY = 1.0  # seconds between kills of what does not end


__all__ = ["StartFailed", "Supervisor"]


class Phase(Enum):
    """Where a server is between its start and its end."""

    SERVING = "serving"
    RESTARTING = "restarting"  # draining, to go on as another program
    STOPPING = "stopping"  # draining, to end


class Supervisor:
    """One server: `run()` until it is told to stop."""

    def __init__(
        self,
        load_config: Callable[[], Config],
        *,
        command: Sequence[str] = (),
        handover: Handover | None = None,
    ) -> None:
        """`command`: what to restart with; without one there is no restart."""
        self._load_config = load_config
        self._handover = handover
        self._config = self._started_with = load_config()
        self._wakeups = Wakeups()
        self._notifier = Notifier(os.environ)
        self._phase = Phase.SERVING
        self._restarting = Restarting(command, self._make_handover)
        self._has_been_ready = False
        self._kill_at = 0.0
        self._started = time.time()
        self.on_ready: Callable[[dict[str, list[str]]], None] = lambda _: None

    def run(self) -> int:
        """Start, supervise, stop; 0 after TERM or INT. Raises StartFailed, ConfigErrors."""
        try:
            setup_logging(self._config)
            raise_limit()
            self._hook_host = HookHost(self._config)  # while nothing is open
        except LogUnavailable as error:
            raise StartFailed(str(error)) from error
        except OSError as error:
            raise StartFailed(f"cannot start the hook host: {error}") from error
        try:
            with failing_to_start():
                self._open(self._config, self._handover)
            self._run(self._config)
        finally:
            self._hook_host.stop()
        if self._phase is Phase.RESTARTING:
            hold_back_endings()
            self._wakeups.wait(time.monotonic())  # TERM may have come before that
        if self._phase is Phase.RESTARTING:
            self._restarting.become_the_next()
        self._clean_up()
        return 0

    def _open(self, config: Config, before: Handover | None) -> None:
        """All that workers share, new or as the program before us left it."""
        user = service_user(config)
        self._lock = DataDirLock(config.data_dir, user, before.lock if before else None)
        self._sockets = open_sockets(config, os.environ, before.open_sockets() if before else None)
        if user is not None:
            hand_over_log(config, user)
            become(user)
        self._watcher = validate(config)
        create_database(config.data_dir)
        take_over_at_start(config, self._watcher.current)
        start_over(
            config.data_dir,
            time.time(),
            tries_all=config.queue.retry_at_start,
            workers=config.server.workers or os.cpu_count() or 1,
        )
        self._control = ControlSocket(
            config.data_dir, self.answer, before.control if before else None
        )

    def _run(self, config: Config) -> None:
        count = config.server.workers or os.cpu_count() or 1
        self._tables = SharedTables(count)
        hang_timeout = config.server.hang_timeout.total_seconds()
        self._monitoring = Monitoring(self._sockets.monitoring, self._tables, hang_timeout)
        self._workers = Workers(count, self._surroundings(), hang_timeout)
        adopt_strays()
        self._wakeups.watch_signals(SIGNALS, self._on_signal)
        self._wakeups.watch(self._control.socket, self._control.serve)
        self._watch_hook_host()
        gc.collect()
        gc.freeze()  # what exists now is shared with the workers: never touch it by collecting
        self._workers.start_all()
        self._start_monitoring()
        logger.info(
            "relevo %s started: %d workers, data in %s", __version__, count, config.data_dir
        )
        while self._workers.pids or self._phase is Phase.SERVING:
            self._wakeups.wait(self._next_due())
            self._look(time.monotonic())
        self._monitoring.stop()

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            data_dir=self._config.data_dir,
            tables=self._tables,
            wakeups=self._wakeups,
            make_setup=self._worker_setup,
            leave=self._leave_supervision,
            others=lambda: (self._hook_host.pid, self._monitoring.pid, self._restarting.pid),
            on_ready=self._announce,
        )

    def _worker_setup(self, row: int, ready_fd: int) -> WorkerSetup:
        return WorkerSetup(
            row=row,
            config=self._config,
            load_config=lambda: as_running(self._load_config(), self._started_with),
            listeners=self._sockets.listeners,
            tables=self._tables,
            ready_fd=ready_fd,
            hook_sockets=self._hook_host.sockets,
        )

    # -- the loop

    def _next_due(self) -> float | None:
        """When `_look` has something to do."""
        sign = self._notifier.next_sign()
        due = [] if sign is None else [sign]
        if self._phase is not Phase.SERVING:
            return min([*due, self._kill_at])
        due += self._workers.next_due(time.monotonic())
        due += self._restarting.next_due()
        if not self._hook_host.pid:
            due.append(self._hook_host.start_at)
        if self._monitoring.is_wanted:
            due.append(self._monitoring.start_at)
        for watched in (self._monitoring, self._hook_host):
            if (look := watched.next_look(time.monotonic())) is not None:
                due.append(look)
        return min(due, default=None)

    def _look(self, now: float) -> None:
        """Do what the time has come for."""
        self._notifier.give_sign(now, is_well=not self._workers.is_any_hung)
        if self._phase is not Phase.SERVING:
            if now >= self._kill_at:
                self._workers.tell(signal.SIGKILL)
                self._kill_at = now + _RETRY
            return
        self._restarting.look(now)
        if not self._hook_host.pid and self._hook_host.start_at <= now:
            self._start_hook_host()
        if self._monitoring.is_wanted and self._monitoring.start_at <= now:
            self._start_monitoring()
        self._monitoring.look(now)
        self._hook_host.look(now)
        self._workers.look(now)

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
            tables=self._tables,
        )
        self._monitoring.start(setup, self._leave_for_monitoring)

    def _leave_for_monitoring(self) -> None:
        self._leave_supervision()
        for listener in self._sockets.listeners:
            listener.socket.close()
        self._hook_host.sockets.close()

    def _watch_hook_host(self) -> None:
        self._wakeups.watch(self._hook_host.control, self._hook_host.read_control)

    def _leave_supervision(self) -> None:
        """In a child: nothing of the supervisor's loop stays."""
        self._wakeups.leave()
        self._control.socket.close()
        self._hook_host.leave()

    def _on_signal(self, number: signal.Signals) -> None:
        match number:
            case signal.SIGTERM | signal.SIGINT:
                self.stop()
            case signal.SIGHUP:
                self.reload()
            case signal.SIGUSR2:
                self.restart()
            case signal.SIGCHLD:
                self._reap()
            case _:
                pass

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            if pid == self._hook_host.pid:
                self._wakeups.forget(self._hook_host.control)
                self._hook_host.on_death(code)
                end_strays([self._monitoring.pid, self._restarting.pid, *self._workers.pids])
            elif pid == self._monitoring.pid:
                self._monitoring.on_death(code)
            elif self._restarting.on_end(pid, code):
                if self._phase is Phase.SERVING:
                    self._drain_to_restart()
            else:
                self._workers.on_end(pid, code)

    # -- commands

    def stop(self) -> None:
        """Drain and end."""
        if self._phase is Phase.STOPPING:
            return
        is_draining = self._phase is Phase.RESTARTING
        self._phase = Phase.STOPPING
        self._notifier.stopping("waiting for open transactions")
        self._restarting.cancel()
        for listener in self._sockets.listeners:
            listener.socket.close()
        if not is_draining:
            self._drain()

    def _drain(self) -> None:
        self._kill_at = time.monotonic() + self._config.server.grace.total_seconds() + _KILL_AFTER
        self._workers.stop()

    def restart(self) -> list[str]:
        """Try it, and when that ends well drain and go on; what keeps us from trying, else none."""
        if self._phase is not Phase.SERVING:
            return []  # it does so already, or never will again
        obstacle = ""
        if self._hook_host.has_privileges:
            obstacle = "hooks run as other users, for which only root can start the server"
        return self._restarting.try_it(obstacle)

    def _drain_to_restart(self) -> None:
        logger.info("restarting, as soon as open transactions have ended")
        self._phase = Phase.RESTARTING
        self._notifier.reloading()
        self._notifier.status("restarting")
        self._drain()

    def _make_handover(self) -> Handover:
        sockets = self._sockets.by_name.items()
        return Handover(
            data_dir=str(self._config.data_dir),
            lock=self._lock.fileno(),
            control=self._control.socket.fileno(),
            sockets={name: tuple(each.fileno() for each in held) for name, held in sockets},
        )

    def reload(self) -> list[str]:
        """Validate, then let the workers re-read; the problems that refused it, else none."""
        self._notifier.reloading()
        try:
            config = self._load_config()
            refuse_another_data_dir(self._started_with.data_dir, config)
            watcher = validate(config)
            setup_logging(config)
        except (ConfigErrors, *UNUSABLE_FILES) as error:
            logger.error("reload refused, everything stays as it was: %s", error)  # noqa: TRY400
            self._notifier.ready("the last reload was refused; see the log")
            return str(error).splitlines()
        if keys := keys_for_a_restart(self._started_with, config):
            logger.warning("a restart is needed for %s", ", ".join(keys))
        config = as_running(config, self._started_with)
        self._config, self._watcher = config, watcher
        for watched in (self._workers, self._monitoring, self._hook_host):
            watched.hang_watch.timeout = config.server.hang_timeout.total_seconds()
        self._hook_host.reconfigure(config)
        self._tables.canaries.reset()
        self._monitoring.replace()
        self._workers.tell(signal.SIGHUP)
        self._notifier.ready(self._summary())
        return []

    def answer(self, request: str) -> dict[str, object]:
        """A question on the control socket."""
        if request == "reload":
            problems = self.reload()
            keys = keys_for_a_restart(self._started_with, self._config)
            return {"problems": problems, "restart_needed": keys}
        if request == "restart":
            return {"problems": self.restart(), "started": self._started}
        if request == "status":
            return self.status()
        if request == "wake":
            self._workers.tell(signal.SIGUSR1)
            return {}
        if request.startswith("canary-reset "):
            name = request.removeprefix("canary-reset ")
            return {"was_reset": self._tables.canaries.reset(name)}
        if request.startswith("penalty "):
            return answer_on_penalties(self._tables.penalties, self._config, request)
        return {"error": f"unknown request {request[:40]!r}"}

    def status(self) -> dict[str, object]:
        """What `relevo status` shows."""
        self._watcher.refresh(time.time())
        return {
            "version": __version__,
            "pid": os.getpid(),
            "phase": self._phase.value,
            "started": self._started,
            "restart_problems": self._restarting.problems,
            "uptime": round(time.time() - self._started, 1),
            "data_dir": str(self._config.data_dir),
            "listeners": self._addresses(),
            "workers": self._workers.status(),
            "stores": [
                StoreState(row["store"]).text for row in self._tables.counters.read_gauges()
            ],
            "hooks": [figures.as_dict() for figures in self._tables.hook_statistics.read()],
            "canaries": [canary.as_dict() for canary in self._tables.canaries.read()],
            "hook_host": {"pid": self._hook_host.pid, "restarts": self._hook_host.restarts},
            "monitoring": {"pid": self._monitoring.pid},
            "connections": self._tables.connections.total(),
            "counters": self._tables.counters.read(),
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
        if self._phase is Phase.SERVING:
            self._notifier.ready(self._summary())

    def _summary(self) -> str:
        """One line for `systemctl status`."""
        addresses = [each for some in self._addresses().values() for each in some]
        return f"{len(self._workers.pids)} workers on {', '.join(addresses)}"

    def _clean_up(self) -> None:
        self._control.close()
        with contextlib.suppress(OSError):
            (self._config.data_dir / "listeners.json").unlink()
        self._lock.close()
        logger.info("stopped")
