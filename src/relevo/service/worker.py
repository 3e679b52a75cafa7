"""A worker process: one event loop that receives and delivers.

It inherits listeners and shared tables from the supervisor, opens what must not cross a fork
(store, threads, event loop) itself, says "ready" through a pipe, and dies with its supervisor.

Signals: HUP re-reads everything, USR1 looks at the queue (a worker died and left units), TERM
drains: no new connections, open transactions end within the grace period, leases are given back.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from relevo.authn import Authenticator, Dovecot, server_secret
from relevo.config import ConfigErrors
from relevo.delivery import Sharing, make_dispatcher
from relevo.delivery.unit_hooks import UnitHooks
from relevo.directory import DirectoryErrors, DirectoryWatcher
from relevo.dns import Resolver, parse_server, read_anchors, system_servers
from relevo.hooks.alias_hooks import ProgramAliasHooks
from relevo.hooks.caller import Caller
from relevo.hooks.post_data import PostDataHooks
from relevo.hooks.stages import DELIVERY_STAGES, SESSION_STAGES, StageHooks
from relevo.hooks.trials.trials import Trials
from relevo.journal import MailLogUnavailable
from relevo.mailauth.dkim.key_files import KeyFiles
from relevo.outbound import (
    DmarcReporting,
    Ownership,
    Protection,
    ProtectionSurroundings,
    RemoteAgents,
    RemoteSurroundings,
    listening_at,
    owners_of_each,
)
from relevo.queue import StoreOptions, StoreState, open_store
from relevo.queue.ids import new_id
from relevo.reception import (
    ConnectionLimits,
    Gate,
    MailChecks,
    Penalties,
    Services,
    SmtpConnection,
)
from relevo.reception.release import release
from relevo.service.certificates import CertificateError, Certificates
from relevo.service.descriptors import Crowd, TurnedAway, most_connections
from relevo.service.heartbeat import INTERVAL as HEARTBEAT
from relevo.service.logs import LogUnavailable, open_maillog, setup_logging
from relevo.service.memory_alarm import MemoryAlarm
from relevo.service.quarantine_keeping import drop_expired
from relevo.service.reception_policies import use_policies

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from relevo.config import Config
    from relevo.hooks.host import PoolSockets
    from relevo.journal import Event, MailLog
    from relevo.reception import Mode
    from relevo.service.listeners import Listener
    from relevo.service.shared_tables import SharedTables

logger = logging.getLogger("relevo.worker")

_GAUGE_INTERVAL = 1.0  # seconds between looks at the queue's size
_LAG_INTERVAL = 0.005
_SWEPT_AT_ONCE = 250  # connections whose deadlines are looked at; half a millisecond
_DRAIN_INTERVAL = 0.05  # seconds between looks at the connections that are left at the end
_SWITCH_INTERVAL = 0.001  # seconds; the writer thread waits less for its turn (measured: 8 %)
# A message makes many short-lived values and no cycles; a look at 20,000 young ones takes 8 ms.
_GC_THRESHOLDS = (4_000, 10, 50)


@dataclass(frozen=True, slots=True)
class WorkerSetup:
    """What the supervisor hands to a worker."""

    row: int  # of the shared tables, and owner of leases
    config: Config
    load_config: Callable[[], Config]
    listeners: tuple[Listener, ...]
    tables: SharedTables
    ready_fd: int
    hook_sockets: PoolSockets


def run(setup: WorkerSetup) -> int:
    """The life of a worker; its exit code."""
    if setup.config.server.loop == "uvloop":
        import uvloop  # noqa: PLC0415 - optional by configuration

        # Else libuv gives all connections that wait to the worker that wakes up first; so it lets
        # the others have a turn after each (a call of nanosleep: 50 µs).
        os.environ["UV_TCP_SINGLE_ACCEPT"] = "1"
        return uvloop.run(Worker(setup).main())
    return asyncio.run(Worker(setup).main())


class Worker:
    """Everything a worker holds."""

    def __init__(self, setup: WorkerSetup) -> None:
        self._setup = setup
        self._config = setup.config
        self._connections: set[SmtpConnection] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._exit_code = 0
        self._crowd = Crowd()
        self._is_queue_full = False
        self._stop = asyncio.Event()
        self._hup = asyncio.Event()

    async def main(self) -> int:
        """From fork to exit; the exit code."""
        loop = asyncio.get_running_loop()
        config, setup = self._config, self._setup
        self._maillog = self._open_maillog(config)
        self._hooks = Caller(
            config, setup.hook_sockets, setup.tables.hook_statistics.counter(setup.row)
        )
        self._trials = Trials(self._hooks, setup.tables.canaries, setup.row)
        self._alias_hooks = ProgramAliasHooks(self._hooks)
        self._dovecot = _make_dovecot(config)
        self._watcher = DirectoryWatcher(config, hooks=self._alias_hooks, users=self._dovecot)
        self._certificates = Certificates(config.config_dir / "certs")
        self._certificates.refresh()
        self._keys = KeyFiles(config.config_dir)
        self._keys.refresh()
        self._store = open_store(
            config.data_dir,
            owner=setup.row,
            loop=loop,
            options=_store_options(config),
            checkpoints=setup.row == 0,
        )
        self._resolver = _make_resolver(config)
        self._protection = self._make_protection(config)
        self._dmarc = DmarcReporting(config, self._protection.around, lambda: self._watcher.current)
        self._unit_hooks = UnitHooks(StageHooks(self._hooks), record=self._record, clock=time.time)
        self._dispatcher = make_dispatcher(
            config,
            store=self._store,
            directory=lambda: self._watcher.current,
            journal=self._log,
            remote=RemoteAgents(self._remote_surroundings()).make,
            hooks=self._unit_hooks_now,
            sharing=self._sharing(),
            release=lambda unit: release(unit, self._services),
        )
        self._services = Services(
            config=config,
            directory=lambda: self._watcher.current,
            store=self._store,
            authenticator=self._make_authenticator(config),
            tls_context=self._certificates.context,
            gate=Gate(setup.tables.connections, setup.row, _limits(config)),
            record=self._record,
            log=self._log,
            take=self._dispatcher.take,
            place=self._dispatcher.place,
            new_id=new_id,
            is_queue_full=lambda: self._is_queue_full,
            post_data=PostDataHooks(self._hooks),
            stage_hooks=StageHooks.for_stages(self._hooks, SESSION_STAGES),
            resolver=self._resolver,
            mail_checks=MailChecks(
                self._keys,
                partial(setup.tables.counters.add_to, setup.row),
                self._dmarc.add,
                self._dmarc.add_failure,
            ),
            penalties=Penalties(setup.tables.penalties, setup.row),
            count=partial(setup.tables.counters.add_to, setup.row),
            count_command=setup.tables.counters.command_counter(setup.row),
            count_reply=setup.tables.counters.reply_counter(setup.row),
        )
        self._services.penalties.use(config, self._services.count)
        self._use_policies(config)
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        loop.add_signal_handler(signal.SIGINT, lambda: None)  # the supervisor says when to stop
        loop.add_signal_handler(signal.SIGHUP, self._hup.set)
        loop.add_signal_handler(signal.SIGUSR1, self._dispatcher.wake)
        self._start(self._dispatcher.run(), "dispatcher")
        self._start(self._watch_deadlines(), "deadlines")
        self._start(self._watch_files(), "files")
        self._start(self._watch_hup(), "reload")
        self._start(self._watch_queue(), "queue size")
        self._start(self._protection.run(), "TLS with other servers")
        self._start(self._dmarc.run(), "DMARC reports")
        if setup.row == 0:
            self._start(drop_expired(self._store, lambda: self._config), "quarantine")
        if config.server.watch_loop:
            self._start(self._watch_loop(), "loop lag")
        servers = [await self._serve(listener) for listener in setup.listeners]
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        sys.setswitchinterval(_SWITCH_INTERVAL)
        os.write(setup.ready_fd, b"r")
        alarm = MemoryAlarm(lambda: loop.call_soon_threadsafe(self._give_up))
        await self._stop.wait()
        await self._drain(servers)
        alarm.close()
        return self._exit_code

    def _give_up(self) -> None:
        logger.critical("no memory left: ending, so that another worker begins anew")
        self._exit_code = os.EX_OSERR
        self._stop.set()

    def _sharing(self) -> Sharing:
        """Which worker serves which route."""
        gauges, row = self._setup.tables.counters.read_gauges, self._setup.row
        ownership = Ownership(
            row,
            lambda: owners_of_each(self._config.outbound.max_per_destination, self._workers),
            lambda: {
                number: gauge["pid"] for number, gauge in enumerate(gauges()) if gauge["is_ready"]
            },
        )
        return Sharing(row, ownership.worker_for, ownership.wake)

    @property
    def _workers(self) -> int:
        return self._config.server.workers or os.cpu_count() or 1

    def _remote_surroundings(self) -> RemoteSurroundings:
        return RemoteSurroundings(
            lookups=lambda: self._resolver,
            listening=listening_at(listener.socket for listener in self._setup.listeners),
            workers=self._workers,
            protection=self._protection.policies,
            contexts=self._protection.contexts,
        )

    def _make_protection(self, config: Config) -> Protection:
        return Protection(
            config,
            ProtectionSurroundings(
                lookups=lambda: self._resolver,
                levels=self._store.outgoing_levels,
                store=self._store,
                new_id=new_id,
                name=str(self._setup.row),
                is_reporter=self._setup.row == 0,
                keys_of=self._keys.of,
                wake=lambda: self._dispatcher.wake(),  # noqa: PLW0108 - it is made later
            ),
        )

    async def _serve(self, listener: Listener) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        mode: Mode = listener.mode
        most = most_connections()
        connections = self._connections

        def accept() -> asyncio.Protocol:
            if len(connections) < most:
                return SmtpConnection(self._services, mode, connections)
            self._crowd.say(most)
            self._services.count("connections", "refused")
            return TurnedAway(self._config.hostname, is_tls=mode.is_tls_from_start)

        return await loop.create_server(accept, sock=listener.socket, backlog=4096)

    def _start(self, work: Coroutine[object, object, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(self._on_task_done)
        self._tasks.append(task)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        """A task of the worker's own never ends by itself: better a new worker than half a one."""
        if task.cancelled() or self._stop.is_set():
            return
        logger.critical("task %r ended", task.get_name(), exc_info=task.exception())
        sys.stderr.flush()
        os._exit(70)

    # -- events

    def _log(self, event: Event) -> None:
        """An event whose history commits with its message: mail log and counters only."""
        self._maillog.write(event)
        self._setup.tables.counters.count(self._setup.row, event)

    def _record(self, event: Event) -> None:
        """An event without a message: its history is written in batches."""
        self._log(event)
        self._store.record(event)

    # -- watching

    async def _watch_deadlines(self) -> None:
        """Each round is a sign of life; it also tells monitoring of its lateness and the store."""
        loop = asyncio.get_running_loop()
        counters, row = self._setup.tables.counters, self._setup.row
        heartbeats = self._setup.tables.heartbeats
        while True:
            due = loop.time() + HEARTBEAT
            await asyncio.sleep(HEARTBEAT)
            now = loop.time()
            heartbeats.beat(row)
            counters.put(row, "lag_us", max(0, int((now - due) * 1e6)))
            state = self._store.health.state
            counters.put(row, "store", state)
            counters.put(row, "is_suspended", int(state is not StoreState.WRITABLE))
            for number, connection in enumerate(list(self._connections), 1):
                connection.check_deadlines(now)
                if number % _SWEPT_AT_ONCE == 0:  # others have their turn
                    await asyncio.sleep(0)

    async def _watch_files(self) -> None:
        while True:
            await asyncio.sleep(self._config.reload.interval.total_seconds())
            await asyncio.to_thread(self._watcher.refresh, time.time())
            await asyncio.to_thread(self._keys.refresh)
            self._refresh_certificates()

    async def _watch_queue(self) -> None:
        while True:
            waiting = await self._store.waiting() - (await self._store.quarantined()).messages
            self._is_queue_full = waiting >= self._config.queue.max_messages
            await asyncio.sleep(_GAUGE_INTERVAL)

    async def _watch_loop(self) -> None:
        """How long callbacks hold the loop: lateness of a timer, less the wait for a processor."""
        loop = asyncio.get_running_loop()
        counters, row = self._setup.tables.counters, self._setup.row
        while True:
            start, waited = loop.time(), _waited_for_processor()
            await asyncio.sleep(_LAG_INTERVAL)
            late = loop.time() - start - _LAG_INTERVAL
            held = late - (_waited_for_processor() - waited)
            counters.raise_to(row, "loop_held_us", max(0, int(held * 1e6)))

    # -- reload and stop

    async def _watch_hup(self) -> None:
        while True:
            await self._hup.wait()
            self._hup.clear()
            try:
                await self._reload()
            except Exception:
                logger.exception("reload failed")

    async def _reload(self) -> None:
        """The new configuration for new connections, files read again, logs reopened."""
        try:
            config = self._setup.load_config()
        except ConfigErrors:
            logger.exception("reload refused, the old configuration stays")
            config = self._config
        dovecot = _make_dovecot(config)
        watcher = self._watcher
        try:
            # many users take seconds to read
            watcher = await asyncio.to_thread(
                DirectoryWatcher, config, hooks=self._alias_hooks, users=dovecot
            )
        except DirectoryErrors:
            logger.exception("users and aliases stay as they were")
        await asyncio.to_thread(self._keys.refresh)
        self._use(config, watcher, dovecot)
        logger.info("configuration and files re-read")

    def _use(self, config: Config, watcher: DirectoryWatcher, dovecot: Dovecot | None) -> None:
        """From now on, all of it at once."""
        self._config, self._watcher, self._dovecot = config, watcher, dovecot
        try:
            setup_logging(config)
        except LogUnavailable as error:
            logger.error("%s: the log stays where it was", error)  # noqa: TRY400 - the text says it all
        self._replace_maillog(config)
        self._hooks.reconfigure(config)
        self._alias_hooks.reconfigure()
        self._refresh_certificates()
        services = self._services
        services.config = config
        services.stage_hooks = StageHooks.for_stages(self._hooks, SESSION_STAGES)
        services.authenticator = self._make_authenticator(config)
        # look-ups under way end by themselves, in the old one
        services.resolver = self._resolver = _make_resolver(config)
        self._protection.use(config)
        self._dmarc.use(config)
        services.gate.limits = _limits(config)
        services.penalties.use(config, services.count)
        self._use_policies(config)
        services.forget_settings()
        self._dispatcher.reconfigure(config)

    def _use_policies(self, config: Config) -> None:
        tables, row = self._setup.tables, self._setup.row
        use_policies(self._services, config, tables, row, self._remote_surroundings())

    def _unit_hooks_now(self) -> UnitHooks | None:
        """Who asks the hooks of delivery, if the configuration declares any."""
        is_any = any(map(self._hooks.programs.declares, DELIVERY_STAGES))
        return self._unit_hooks if is_any else None

    def _open_maillog(self, config: Config) -> MailLog:
        loop = asyncio.get_running_loop()
        return open_maillog(config, call_soon=loop.call_soon)

    def _replace_maillog(self, config: Config) -> None:
        try:
            maillog = self._open_maillog(config)
        except MailLogUnavailable:
            logger.exception("the mail log stays where it was")
            return
        self._maillog.close()
        self._maillog = maillog

    def _make_authenticator(self, config: Config) -> Authenticator:
        return Authenticator(
            config=config,
            directory=lambda: self._watcher.current,
            secret=server_secret(config.data_dir),
            dovecot=self._dovecot,
        )

    def _refresh_certificates(self) -> None:
        try:
            if self._certificates.refresh():
                self._services.tls_context = self._certificates.context
                self._services.forget_settings()
                logger.info("certificates re-read")
        except CertificateError as error:
            logger.error("%s: the old certificates stay in use", error)  # noqa: TRY400 - the text says it all

    async def _drain(self, servers: list[asyncio.Server]) -> None:
        for server in servers:
            server.close()
        self._services.is_draining = True
        loop = asyncio.get_running_loop()
        end = loop.time() + self._config.server.grace.total_seconds()
        while self._connections and loop.time() < end:  # once, at the end
            for connection in list(self._connections):
                connection.drain(loop.time())
            await asyncio.sleep(_DRAIN_INTERVAL)
        for connection in list(self._connections):
            connection.abort()
        await self._dispatcher.drain(max(1.0, end - loop.time()))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._trials.aclose()
        await self._protection.aclose()
        await self._dmarc.write()
        await self._resolver.aclose()
        await self._store.close()
        self._maillog.close()


def _make_dovecot(config: Config) -> Dovecot | None:
    return Dovecot(config.auth) if config.auth.dovecot else None


def _limits(config: Config) -> ConnectionLimits:
    return ConnectionLimits(config.limits.connections, config.limits.connections_per_source)


def _make_resolver(config: Config) -> Resolver:
    """With an empty cache: an operator who changed DNS reloads to have it seen."""
    return Resolver(
        [parse_server(server) for server in config.dns.servers] or system_servers(),
        timeout_s=config.dns.timeout.total_seconds(),
        cache_size=config.dns.cache_size,
        signed_name=config.dns.signed_name,
        anchors=read_anchors(config.dns.trust_anchor) if config.dns.dnssec == "validate" else None,
    )


def _store_options(config: Config) -> StoreOptions:
    return StoreOptions(
        inline_size=config.queue.inline_size,
        segment_size=config.queue.segment_size,
        min_free_space=config.queue.min_free_space,
        history_max_age=config.history.max_age,
        history_max_events=config.history.max_events,
    )


def _waited_for_processor() -> float:
    """Seconds that this thread was ready to run and another one ran (proc(5), schedstat)."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
