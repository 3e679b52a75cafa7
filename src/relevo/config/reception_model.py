"""The part of the configuration tree that is about listeners, limits, addresses and logins."""

# ruff: noqa: RUF009 -- key() is dataclasses.field() with documentation, not a value

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from relevo.config.key import key

_MS = timedelta(milliseconds=1)
_DAY = timedelta(days=1)
_KIB = 1024
_MIB = 1024 * 1024
_GIB = 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """[listen]"""

    smtp: tuple[str, ...] = key(
        "Addresses for mail from other servers: `host:port`, `:port`, `[v6]:port` or `systemd`.",
        (":25",),
    )
    submission: tuple[str, ...] = key(
        "Addresses for mail from own users (STARTTLS).",
        (":587",),
    )
    submission_tls: tuple[str, ...] = key(
        "Addresses for mail from own users (TLS from the start).",
        (":465",),
    )
    monitoring: str = key(
        "Address for monitoring over HTTP, or `systemd`; empty: none. One that is not "
        "loopback needs `monitoring.token_file`.",
        "",
    )
    haproxy: bool = key(
        "Every connection to these addresses (but monitoring) starts with a PROXY header, version "
        "1 or 2, in front of TLS too; see `proxy.trusted`.",
        False,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """[proxy]"""

    trusted: tuple[str, ...] = key(
        "With `listen.haproxy`: the proxies whose word on the client's address is taken, as "
        "addresses and networks. Connections from elsewhere are closed without a reply.",
        (),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class XClient:
    """[xclient]"""

    trusted: tuple[str, ...] = key(
        "Addresses and networks of proxies that are offered XCLIENT, by which they name their "
        "client's address and port. Who has logged in they cannot say (no LOGIN).",
        (),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Smtp:
    """[smtp]"""

    max_message_size: int = key(
        "Largest message, octets on the wire.",
        50 * _MIB,
        unit="bytes",
        least=_KIB,
        most=1024 * _GIB,
    )
    chunking: bool = key("Offer CHUNKING (BDAT).", True)
    binarymime: bool = key("Offer BINARYMIME.", False)
    dsn: bool = key("Offer DSN.", True)
    requiretls: bool = key(
        "Offer REQUIRETLS on TLS: messages that go on over verified TLS only, or not at all.", True
    )
    deliver_by: bool = key(
        "Offer DELIVERBY, a time within which a message is to be delivered, to clients that have "
        "logged in and to `relay.networks`.",
        True,
    )
    deliver_by_least: timedelta = key(
        "The shortest such time for messages that come back when it is over.",
        timedelta(minutes=1),
        least=timedelta(0),
        most=30 * _DAY,
    )
    future_release: timedelta = key(
        "Offer FUTURERELEASE to users: a message may wait for so long until it is sent. 0: not "
        "offered.",
        timedelta(days=7),
        least=timedelta(0),
        most=366 * _DAY,
    )
    priority: bool = key(
        "Offer MT-PRIORITY to clients that have logged in and to `relay.networks`; only the former "
        "may ask for more than the ordinary one.",
        True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """[limits]"""

    connections: int = key(
        "Connections at once, over all workers; more get 421.",
        10_000,
        least=1,
    )
    connections_per_source: int = key(
        "Connections at once from one IPv4 address or IPv6 /64.",
        500,
        least=1,
    )
    recipients: int = key("Recipients a transaction; more get 452 4.5.3.", 101, least=1)
    expanded_recipients: int = key(
        "Recipients of a message after alias expansion.",
        1000,
        least=1,
    )
    rejected_recipients: int = key(
        "Refused recipients a connection; then it ends with 421.",
        100,
        least=1,
    )
    errors: int = key(
        "Syntax, sequence and AUTH errors a connection; the last is answered 421.",
        3,
        least=1,
    )
    received_headers: int = key("Received fields above which a message loops.", 50, least=1)
    header_size: int = key(
        "Largest header block.",
        256 * _KIB,
        unit="bytes",
        least=_KIB,
        most=64 * _MIB,
    )
    command_timeout: timedelta = key(
        "Silence between commands before 421.",
        timedelta(minutes=5),
        least=_MS,
        most=_DAY,
    )
    busy_command_timeout: timedelta = key(
        "The same while over 80 % of `limits.connections` are in use.",
        timedelta(seconds=10),
        least=_MS,
        most=_DAY,
    )
    data_timeout: timedelta = key(
        "Silence inside a message before 421.",
        timedelta(minutes=3),
        least=_MS,
        most=_DAY,
    )
    data_min_rate: int = key(
        "Slowest message, octets a second over 5 minutes.",
        1024,
        unit="bytes/s",
        least=0,
    )
    handshake_timeout: timedelta = key(
        "TLS handshake.",
        timedelta(seconds=10),
        least=_MS,
        most=_DAY,
    )
    connection_lifetime: timedelta = key(
        "Longest connection; ends between commands.",
        timedelta(minutes=60),
        least=_MS,
        most=30 * _DAY,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """[addresses]"""

    suffix_separators: str = key(
        "Characters that start a suffix: user+tag is user. Empty: no suffixes.",
        "+",
    )
    drop_characters: str = key(
        "Characters ignored in our local parts: us.er is user. Empty: none.",
        ".",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """[auth]"""

    mechanisms: tuple[str, ...] = key(
        "SASL mechanisms, offered on TLS only: PLAIN, LOGIN, SCRAM-SHA-256, SCRAM-SHA-256-PLUS.",
        ("PLAIN", "LOGIN"),
    )
    failure_delay: timedelta = key(
        "Every answer to AUTH takes at least this long.",
        timedelta(milliseconds=100),
        least=timedelta(0),
        most=timedelta(minutes=1),
    )
    max_pending: int = key("Verifications at once, a worker; more get 454.", 32, least=1, most=1024)
    dovecot: bool = key(
        "Ask Dovecot, too, who may log in and which local users exist. A user that a users file "
        "denies stays denied.",
        False,
    )
    dovecot_userdb_path: str = key(
        "Dovecot's userdb socket; empty: looked for in /var/run/dovecot.", ""
    )
    dovecot_client_path: str = key(
        "Dovecot's client socket; empty: looked for in /var/run/dovecot.", ""
    )
