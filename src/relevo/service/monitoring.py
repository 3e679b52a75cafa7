"""The monitoring process: what it serves, and the supervisor's side that keeps it alive.

It has nothing but read access: shared counters, the queue's database, certificates, /proc. The
listening sockets stay open in the supervisor, so whoever asks while the process is replaced waits
a moment and is answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import apsw

from relevo import __version__
from relevo.queue import DatabaseError, open_reader
from relevo.service.certificates import expiries
from relevo.service.forking import SIGNALS, fork
from relevo.service.heartbeat import INTERVAL as HEARTBEAT
from relevo.service.heartbeat import HangWatch
from relevo.service.listeners import is_reachable
from relevo.service.logs import setup_logging
from relevo.web import Figures, HttpServer, Site, WorkerFigures, serve_until

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from relevo.config import Config
    from relevo.journal import Event
    from relevo.queue import Counts
    from relevo.queue.reading import QueueReader
    from relevo.service.shared_tables import SharedTables

logger = logging.getLogger("relevo.monitoring")

_PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
_LATEST = 30  # events on the status page
_MAX_TOKEN = 4096  # octets
_SHORT_LIFE = 1.0  # seconds; who dies sooner is started again after as long
_PAUSE = 1.0
_END = signal.SIGUSR1  # from the supervisor; its default, before a handler is there, ends as well


class TokenUnusable(Exception):
    """`monitoring.token_file` cannot be read or holds no token."""


@dataclass(frozen=True, slots=True)
class MonitoringSetup:
    """What the supervisor hands to the process."""

    config: Config
    supervisor: int
    started: float
    sockets: tuple[socket.socket, ...]
    addresses: Mapping[str, list[str]]
    tables: SharedTables


class Monitoring:
    """One process at a time, if there are sockets to serve. The supervisor's side."""

    def __init__(
        self, sockets: tuple[socket.socket, ...], tables: SharedTables, hang_timeout: float
    ) -> None:
        self._has_sockets = bool(sockets)
        self._beats = tables.heartbeats
        self._row = tables.monitoring_row
        self._beats_before = 0  # those of the processes that are gone
        self.hang_watch = HangWatch(tables.heartbeats, hang_timeout)
        self._is_replaced = False
        self._started = 0.0
        self.pid = 0
        self.start_at = 0.0  # when to start the next one, if there is none

    @property
    def is_wanted(self) -> bool:
        """There should be a process, and there is none."""
        return self._has_sockets and not self.pid

    def start(self, setup: MonitoringSetup, leave: Callable[[], None]) -> None:
        """Start the process; `leave` gives up in it what is the supervisor's."""
        if not self.is_wanted:
            return

        def live() -> int:
            leave()
            return run(setup)

        self._started = time.monotonic()
        self.start_at = self._started + _PAUSE
        self._is_replaced = False
        self._beats_before = self._beats.read(self._row)
        self.hang_watch.start_anew(self._row)
        try:
            self.pid = fork(live, "monitoring")
        except OSError as error:
            logger.error("cannot start monitoring, trying again soon: %s", error)  # noqa: TRY400

    def next_look(self, now: float) -> float | None:
        """When `look` is to be called; None: never."""
        return self.hang_watch.next_look(now) if self.pid else None

    def look(self, now: float) -> None:
        """Kill the process if it hangs: it holds nothing that would be lost."""
        if not self.pid or not self.hang_watch.hanging((self._row,), now):
            return
        if self._beats.read(self._row) != self._beats_before:  # else it is just starting
            logger.error("the monitoring process hangs; ending it")
            os.kill(self.pid, signal.SIGKILL)

    def replace(self) -> None:
        """End the process; the next one has the new configuration."""
        if self.pid:
            self._is_replaced = True
            os.kill(self.pid, _END)

    def on_death(self, code: int) -> None:
        """The process has ended and was reaped."""
        self.pid = 0
        now = time.monotonic()
        if self._is_replaced:
            self.start_at = now
            return
        self.start_at = now + (_PAUSE if now - self._started < _SHORT_LIFE else 0.0)
        logger.error("the monitoring process ended with %d; starting another", code)

    def stop(self) -> None:
        """End it for good: it holds nothing that would be lost."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)
        self.pid = 0
        self._has_sockets = False


def read_token(config: Config) -> str:
    """The first line of `monitoring.token_file`; "" without one. Raises TokenUnusable."""
    if not config.monitoring.token_file or not config.listen.monitoring:
        return ""
    path = Path(config.monitoring.token_file)
    try:
        with path.open("rb") as file:
            line = file.readline(_MAX_TOKEN)
        token = line.decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not ASCII"
        raise TokenUnusable(f"monitoring.token_file: cannot read {path}: {reason}") from error
    if not token:
        raise TokenUnusable(f"monitoring.token_file: the first line of {path} is empty")
    return token


def run(setup: MonitoringSetup) -> int:
    """The life of the process; its exit code."""
    with contextlib.suppress(Exception):  # where records go already is as good
        setup_logging(setup.config)
    asyncio.run(_serve(setup))
    return 0


async def _serve(setup: MonitoringSetup) -> None:
    config = setup.config
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(_END, stop.set)
    for number in SIGNALS:  # what a terminal or systemd sends to all: probes go on while we drain
        loop.add_signal_handler(number, lambda: None)
    site = Site(
        MonitoringSource(setup),
        has_chasquid_names=config.monitoring.names == "chasquid",
        token=token_of(setup),
        end=(lambda: os.kill(setup.supervisor, signal.SIGTERM))
        if config.monitoring.allow_exit
        else None,
    )
    for sock in setup.sockets:
        sock.setblocking(False)
    beating = loop.create_task(_beat(setup.tables))
    await serve_until(HttpServer(site.answer), setup.sockets, stop)
    beating.cancel()


async def _beat(tables: SharedTables) -> None:
    while True:
        tables.heartbeats.beat(tables.monitoring_row)
        await asyncio.sleep(HEARTBEAT)


def token_of(setup: MonitoringSetup) -> str:
    """After a reload that took the token away, an open socket asks for one that nobody knows."""
    token = read_token(setup.config)
    if not token and any(map(is_reachable, setup.sockets)):
        logger.error("monitoring is closed until a restart: no token, and others can reach it")
        return secrets.token_hex()
    return token


class MonitoringSource:
    """Gathers what the pages show."""

    def __init__(self, setup: MonitoringSetup) -> None:
        self.setup = setup

    def is_ready(self) -> bool:
        """All workers take mail."""
        gauges = self.setup.tables.counters.read_gauges()
        return all(row["is_ready"] and not row["is_suspended"] for row in gauges)

    def figures(self) -> Figures:
        """This moment."""
        setup = self.setup
        counters = setup.tables.counters
        workers = tuple(
            WorkerFigures(
                row=row,
                pid=gauges["pid"],
                is_ready=bool(gauges["is_ready"]),
                restarts=gauges["restarts"],
                is_suspended=bool(gauges["is_suspended"]),
                lag_s=gauges["lag_us"] / 1e6,
            )
            for row, gauges in enumerate(counters.read_gauges())
        )
        queue, oldest = self._queue()
        return Figures(
            version=__version__,
            hostname=setup.config.hostname,
            data_dir=str(setup.config.data_dir),
            started=setup.started,
            now=time.time(),
            totals=counters.read(),
            families=counters.read_families(),
            workers=workers,
            connections=setup.tables.connections.total(),
            listeners={key: tuple(texts) for key, texts in setup.addresses.items()},
            hooks=tuple(setup.tables.hook_statistics.read()),
            canaries=tuple(setup.tables.canaries.read()),
            queue=queue,
            oldest=oldest,
            certificates=expiries(setup.config.config_dir / "certs"),
            memory=self._memory(workers),
        )

    def latest_events(self) -> tuple[Event, ...]:
        """What happened last, newest first; none when the history cannot be read."""
        with (
            contextlib.suppress(DatabaseError, apsw.Error),
            open_reader(self.setup.config.data_dir) as reader,
        ):
            return reader.latest_events(_LATEST)
        return ()

    def _reader(self) -> QueueReader:
        return open_reader(self.setup.config.data_dir)

    def _queue(self) -> tuple[Counts | None, float | None]:
        with (
            contextlib.suppress(DatabaseError, apsw.Error),
            open_reader(self.setup.config.data_dir) as reader,
        ):
            return reader.counts(), reader.oldest()
        return None, None

    def _memory(self, workers: tuple[WorkerFigures, ...]) -> dict[str, int]:
        processes = {"supervisor": self.setup.supervisor, "monitoring": os.getpid()}
        processes |= {f"worker {worker.row}": worker.pid for worker in workers if worker.pid}
        found = {name: _resident(pid) for name, pid in processes.items()}
        return {name: size for name, size in found.items() if size}


def _resident(pid: int) -> int:
    """Octets of a process's memory that are in RAM; 0: it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_SIZE
    except (OSError, IndexError, ValueError):
        return 0
