"""A connection without sockets: octets in by `say`, octets out by `heard`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from relevo.authn import Authenticator
from relevo.config import Config, load
from relevo.directory import DirectoryWatcher
from relevo.hooks.post_data import PostDataHooks
from relevo.hooks.programs import Program
from relevo.journal import Event
from relevo.mailauth.dkim.key_files import KeyFiles
from relevo.queue import SecurityLevel
from relevo.queue.ids import new_id
from relevo.queue.quarantine import Totals
from relevo.queue.sqlite import SqliteStore
from relevo.queue.store import Content, MemoryContent, NewMessage, StoreFailed, Unit
from relevo.reception import ConnectionLimits, ConnectionTable, Gate, MailChecks, Mode, Services
from relevo.reception.connection import SmtpConnection
from unit.reception.names import Names

USERS = 'users: { key: "user" value: { plain: { password: "secret" } } }\n'
ALIASES = "al: user, x@r.test\nloop: loop\n"


class FakeSpool:
    """Takes what is written; `is_stuck` keeps it pending."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.is_stuck = False
        self.is_aborted = False
        self.release = asyncio.Event()

    def write(self, data: bytes) -> None:
        self.data += data

    @property
    def pending(self) -> int:
        return len(self.data) if self.is_stuck else 0

    async def drained(self) -> None:
        await self.release.wait()
        self.is_stuck = False

    def finish(self, head: bytes) -> Content:
        return MemoryContent(head + bytes(self.data))

    def abort(self) -> None:
        self.is_aborted = True


@dataclass
class FakeStore:
    """Keeps what is added; can be told to wait or to fail."""

    added: list[NewMessage] = field(default_factory=list)
    recorded: list[Event] = field(default_factory=list)
    spools: list[FakeSpool] = field(default_factory=list)
    gate: asyncio.Event | None = None
    failure: StoreFailed | None = None
    is_suspended: bool = False
    is_short_of_space: bool = False
    levels: dict[str, SecurityLevel] = field(default_factory=dict)

    def is_level_known(self, domain: str, level: SecurityLevel) -> bool:
        return self.failure is None and self.levels.get(domain) is level

    async def raise_incoming_level(self, domain: str, level: SecurityLevel) -> SecurityLevel:
        if self.failure is not None:
            raise self.failure
        self.levels[domain] = max(level, self.levels.get(domain, SecurityLevel.PLAIN))
        return self.levels[domain]

    async def add(
        self, message: NewMessage, *, lease: bool, place: object = None
    ) -> tuple[Unit, ...]:
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        self.added.append(message)
        return ()

    async def quarantined(self) -> Totals:
        return Totals()

    def count_quarantined(self, octets: int) -> None:
        pass

    def spool(self) -> FakeSpool:
        self.spools.append(FakeSpool())
        return self.spools[-1]

    def record(self, event: Event) -> None:
        self.recorded.append(event)


class FakeTransport:
    """What the connection writes, and whether it reads or is closed."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.is_reading = True
        self.is_closed = False
        self.writes = 0

    def get_extra_info(self, name: str) -> object:
        return ("192.0.2.7", 4711) if name == "peername" else None

    def write(self, data: bytes) -> None:
        self.written += data
        self.writes += 1

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True


@dataclass
class Client:
    """A client in front of a real connection."""

    services: Services
    store: FakeStore
    connection: SmtpConnection
    transport: FakeTransport

    def say(self, text: str | bytes) -> str:
        """Send octets; what came back at once."""
        self.connection.data_received(text.encode() if isinstance(text, str) else text)
        return self.heard()

    def heard(self) -> str:
        output = bytes(self.transport.written).decode()
        self.transport.written.clear()
        return output

    async def say_and_wait(self, text: str | bytes) -> str:
        """The same, after everything that was started has run."""
        self.connection.data_received(text.encode() if isinstance(text, str) else text)
        await settle()
        return self.heard()


async def settle() -> None:
    """Let everything that is ready run."""
    for _ in range(20):
        await asyncio.sleep(0)


class NoHooks:
    """An installation without hooks."""

    is_watched = False

    def find(self) -> list[Program]:
        return []


@dataclass
class Place:
    """A config directory and what connections to it share."""

    config: Config
    store: FakeStore
    table: ConnectionTable
    events: list[Event]
    is_queue_full: bool = False
    names: Names = field(default_factory=Names)

    def services(self) -> Services:
        watcher = DirectoryWatcher(self.config)
        limits = self.config.limits
        keys = KeyFiles(self.config.config_dir)
        keys.refresh()
        return Services(
            config=self.config,
            directory=lambda: watcher.current,
            store=cast("SqliteStore", self.store),
            authenticator=Authenticator(
                config=self.config, directory=lambda: watcher.current, secret=b"s" * 32
            ),
            tls_context=None,
            gate=Gate(
                self.table, 0, ConnectionLimits(limits.connections, limits.connections_per_source)
            ),
            record=self.events.append,
            log=self.events.append,
            take=lambda _units, _waiting: None,
            place=lambda _route: None,
            new_id=new_id,
            is_queue_full=lambda: self.is_queue_full,
            post_data=cast("PostDataHooks", NoHooks()),
            mail_checks=MailChecks(keys),
            resolver=self.names,
        )

    def connect(self, mode: Mode = Mode.SMTP, services: Services | None = None) -> Client:
        """A new connection, greeted."""
        services = services or self.services()
        connection = SmtpConnection(services, mode, set())
        transport = FakeTransport()
        connection.connection_made(cast("asyncio.Transport", transport))
        return Client(services, self.store, connection, transport)

    def set(self, section: str, **values: Any) -> None:
        """Change keys of a section of the configuration."""
        changed = replace(getattr(self.config, section), **values)
        self.config = replace(self.config, **{section: changed})


@pytest.fixture
def place(tmp_path: Path) -> Place:
    domain = tmp_path / "conf" / "domains" / "d1.test"
    domain.mkdir(parents=True)
    (domain / "users").write_text(USERS)
    (domain / "aliases").write_text(ALIASES)
    (tmp_path / "conf" / "relevo.toml").write_text(
        f'hostname = "mx.test"\ndata_dir = "{tmp_path}/data"\npostmaster = "user@d1.test"\n'
        "spf.check = false\n"
    )
    return Place(load(tmp_path / "conf"), FakeStore(), ConnectionTable(1), [])


Running = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture
def running() -> Running:
    """Run a test's coroutine, with a deadline."""

    def run(work: Awaitable[None]) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(20):
                await work

        asyncio.run(bounded())

    return run
