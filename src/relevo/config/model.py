"""The one immutable configuration tree.

Built once by a loader (`relevo.config.load`), replaced whole on reload. Every field carries its
documentation in `metadata`; the reference page, `relevo.toml.example` and `relevo config show`
are generated from it. Nothing here opens files, sockets or certificates.

Durations are `timedelta`, sizes are octets. Paths are absolute after loading (relative ones are
relative to the config directory). The defaults here are those of the profile "relevo"; where the
profile "chasquid" differs is in `relevo.config.profiles`.
"""

# ruff: noqa: RUF009 -- key() is dataclasses.field() with documentation, not a value

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType

from relevo.config.hook_model import DeclaredHook, Hooks
from relevo.config.key import key
from relevo.config.mailauth_model import Arc, Dkim, Dmarc, Dns, Spf
from relevo.config.outbound_model import DeclaredRoute, Outbound
from relevo.config.outbound_tls_model import OutboundTls
from relevo.config.penalty_model import Penalties
from relevo.config.problems import Problem
from relevo.config.quarantine_model import Quarantine
from relevo.config.reception_model import (
    Addresses,
    Auth,
    Limits,
    Listen,
    Proxy,
    Smtp,
    XClient,
)
from relevo.config.relay_model import DeclaredRelayDomain, Forwarding, Relay
from relevo.config.replay_model import Replay
from relevo.config.submission_model import Submission

_MS = timedelta(milliseconds=1)
_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)
_KIB = 1024
_MIB = 1024 * 1024
_GIB = 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """[server]"""

    workers: int = key("Worker processes; 0: one per core.", 0, least=0, most=256)
    watch_loop: bool = key(
        "Measure how long callbacks hold the event loop; `relevo status` shows the worst.", False
    )
    hang_timeout: timedelta = key(
        "A process of the server that gives no sign of life for this long is replaced; 0: never.",
        timedelta(seconds=30),
        least=timedelta(0),
        most=_DAY,
    )
    user: str = key("User to become after the listeners are open, when started as root.", "")
    grace: timedelta = key(
        "How long running transactions may finish after TERM.",
        timedelta(seconds=30),
        least=timedelta(0),
        most=_DAY,
    )
    loop: str = key("Event loop.", "uvloop", choices=("uvloop", "asyncio"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """[delivery]"""

    local: str = key(
        "`maildir:PATTERN` (with {domain} and {user}), `lmtp:/SOCKET`, `lmtp:HOST:PORT`, `mda` or "
        "`discard`.",
        "maildir:/var/mail/relevo/{domain}/{user}",
    )
    mda_command: str = key("Mail delivery agent, searched in PATH if without /.", "maildrop")
    mda_arguments: tuple[str, ...] = key(
        "Its arguments; %from%, %from_user%, %from_domain%, %to%, %to_user%, %to_domain% are "
        "replaced.",
        ("-f", "%from%", "-d", "%to_user%"),
    )
    command_timeout: timedelta = key(
        "MDA and pipe commands are killed after this.",
        timedelta(seconds=30),
        least=_MS,
        most=_DAY,
    )
    lmtp_connections: int = key("LMTP connections at once, a worker.", 10, least=1, most=1024)
    max_commands: int = key("MDA and pipe commands at once, a worker.", 16, least=1, most=1024)


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """[queue]"""

    max_messages: int = key(
        "Waiting messages above which mail gets 451 4.3.0.",
        1_000_000,
        least=1,
    )
    give_up_after: timedelta = key(
        "Age at which waiting recipients are given up.",
        timedelta(days=5),
        least=_MS,
        most=3650 * _DAY,
    )
    retry: tuple[str, ...] = key(
        "How long to wait after a failed attempt: the first of these durations that is longer than "
        "the message is old, the last when none is; up to a minute at random is added.",
        ("1m", "5m", "10m", "20m"),
    )
    delay_notice: timedelta = key(
        "Age at which the sender is told, once, of a recipient that still waits; 0: never.",
        timedelta(hours=4),
        least=timedelta(0),
        most=3650 * _DAY,
    )
    notices_per_minute: int = key(
        "Notifications (DSNs) to one address a minute; more are left out, and the log says so. "
        "0: no limit.",
        60,
        least=0,
        most=1_000_000,
    )
    retry_at_start: bool = key(
        "Try all waiting messages when the server starts, instead of each at its time.", False
    )
    min_free_space: float = key(
        "Free share of the file system below which MAIL gets 452.",
        0.05,
        least=0.0,
        most=0.9,
    )
    segment_size: int = key(
        "Size of a spool segment.",
        64 * _MIB,
        unit="bytes",
        least=_MIB,
        most=4 * _GIB,
    )
    inline_size: int = key(
        "Largest message kept inside the database.",
        8 * _KIB,
        unit="bytes",
        least=0,
        most=_MIB,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """[history]"""

    max_age: timedelta = key(
        "Events are kept this long.",
        timedelta(days=14),
        least=_SECOND,
        most=3650 * _DAY,
    )
    max_events: int = key("And at most this many.", 2_000_000, least=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """[log]"""

    file: str = key("`stderr` or a file, reopened on HUP.", "stderr")
    level: str = key(
        "Least severe level written.",
        "info",
        choices=("debug", "info", "warning", "error"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MailLog:
    """[mail_log]"""

    path: str = key("`syslog`, `stdout`, `stderr`, `off` or a file.", "stdout")
    format: str = key("Line format.", "chasquid", choices=("chasquid", "json", "plain"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitoring:
    """[monitoring]; the address is `listen.monitoring`."""

    names: str = key(
        "Names of the counters at `/metrics`: relevo's or chasquid's; both are always served, at "
        "`/metrics/relevo` and `/metrics/chasquid`.",
        "relevo",
        choices=("relevo", "chasquid"),
    )
    token_file: str = key(
        "A file whose first line every request must bring as `Authorization: Bearer` or as a "
        "password (Basic, any user), but for `/healthz` and `/readyz`; empty: no token.",
        "",
    )
    allow_exit: bool = key("`POST /exit` stops the server, as it does in chasquid.", False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reload:
    """[reload]"""

    interval: timedelta = key(
        "How often users, aliases and certificates are looked at.",
        timedelta(seconds=30),
        least=_MS,
        most=_DAY,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All of it. The fields without documentation are no keys but say where it came from.

    `source` names the files read; `origins` says for each dotted key where its value was set;
    `warnings` are what the operator should know, though it keeps nothing from starting.
    """

    config_dir: Path = key("", Path("/etc/relevo"))
    source: tuple[str, ...] = key("", ())
    warnings: tuple[Problem, ...] = key("", ())
    origins: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType({}), metadata={"doc": ""}, compare=False
    )
    profile: str = key("Set of defaults.", "relevo", choices=("relevo", "chasquid"))
    hostname: str = key(
        "Our name in greeting, EHLO and trace fields; default: the system's.",
        "",
    )
    data_dir: Path = key("Queue, spool and state.", Path("/var/lib/relevo"))
    postmaster: str = key(
        "Where mail to <postmaster> and failed DSNs go; default: postmaster@ the first domain.",
        "",
    )
    listen: Listen = key("", Listen)
    proxy: Proxy = key("", Proxy)
    xclient: XClient = key("", XClient)
    server: Server = key("", Server)
    smtp: Smtp = key("", Smtp)
    limits: Limits = key("", Limits)
    penalties: Penalties = key("", Penalties)
    quarantine: Quarantine = key("", Quarantine)
    addresses: Addresses = key("", Addresses)
    auth: Auth = key("", Auth)
    submission: Submission = key("", Submission)
    forwarding: Forwarding = key("", Forwarding)
    relay: Relay = key("", Relay)
    relay_domain: tuple[DeclaredRelayDomain, ...] = key("", ())
    dns: Dns = key("", Dns)
    spf: Spf = key("", Spf)
    dkim: Dkim = key("", Dkim)
    arc: Arc = key("", Arc)
    dmarc: Dmarc = key("", Dmarc)
    delivery: Delivery = key("", Delivery)
    outbound: Outbound = key("", Outbound)
    route: tuple[DeclaredRoute, ...] = key("", ())
    outbound_tls: OutboundTls = key("", OutboundTls)
    hooks: Hooks = key("", Hooks)
    hook: tuple[DeclaredHook, ...] = key("", ())
    replay: Replay = key("", Replay)
    queue: Queue = key("", Queue)
    history: History = key("", History)
    log: Log = key("", Log)
    mail_log: MailLog = key("", MailLog)
    monitoring: Monitoring = key("", Monitoring)
    reload: Reload = key("", Reload)
