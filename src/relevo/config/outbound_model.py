"""The part of the configuration tree that is about mail to other servers."""

# ruff: noqa: RUF009 -- key() is dataclasses.field() with documentation, not a value

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from relevo.config.key import key

_SECOND = timedelta(seconds=1)
_HOUR = timedelta(hours=1)

TLS_DEMANDS = ("best", "encrypted", "verified", "implicit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbound:
    """[outbound]"""

    port: int = key("Port of other servers, where none is named.", 25, least=1, most=65535)
    helo_name: str = key("Our name in EHLO to them; empty: `hostname`.", "")
    source_addresses: tuple[str, ...] = key(
        "Addresses of this machine to connect from, at most one IPv4 and one IPv6; empty: the "
        "system's choice.",
        (),
    )
    allow_addresses: tuple[str, ...] = key(
        "Networks that mail may be sent to although they are not public, for servers named by "
        "DNS; servers named in this configuration may be anywhere.",
        (),
    )
    smarthost: tuple[str, ...] = key(
        "Servers that take all mail to other domains, tried in order: `host`, `host:port`, "
        "`[v6]:port`. Empty: the mail exchangers of each domain.",
        (),
    )
    smarthost_credentials: str = key(
        "A file for logging in there: the user in its first line, the password in its second; "
        "an access token with `oauthbearer` in a third line. "
        "Empty: no login.",
        "",
    )
    smarthost_tls: str = key(
        "What the connection must have: the `best` that is offered, at least `encrypted`, a "
        "`verified` certificate, or a verified one with TLS from the first octet (`implicit`).",
        "verified",
        choices=TLS_DEMANDS,
    )
    max_per_destination: int = key(
        "Connections to one destination at once, over all workers; begins with a few, grows with "
        "success.",
        20,
        least=1,
        most=1000,
    )
    max_per_minute: int = key(
        "Transactions with one destination a minute, over all workers; 0: no limit.",
        0,
        least=0,
        most=1_000_000,
    )
    max_connections: int = key(
        "Deliveries to other servers at once, a worker.", 500, least=1, most=10_000
    )
    reuse_limit: int = key("Transactions in one connection.", 100, least=1, most=100_000)
    reuse_idle: timedelta = key(
        "How long a connection is kept when there is nothing to send.",
        5 * _SECOND,
        least=timedelta(0),
        most=_HOUR,
    )
    reuse_age: timedelta = key(
        "A connection older than this begins no other transaction.",
        timedelta(minutes=5),
        least=_SECOND,
        most=_HOUR,
    )
    back_off_first: timedelta = key(
        "How long a destination that cannot be reached is left alone; twice as long each time it "
        "still cannot.",
        timedelta(seconds=30),
        least=timedelta(milliseconds=100),
        most=_HOUR,
    )
    back_off_longest: timedelta = key(
        "And at most so long.",
        timedelta(minutes=10),
        least=timedelta(milliseconds=100),
        most=timedelta(days=1),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredRoute:
    """One [[route]]: other servers for some of the mail to other domains."""

    name: str = key("For logs and `relevo queue summary`; default: the servers.", "")
    recipients: tuple[str, ...] = key(
        "Domains of recipients: `example.org`, `*.example.org` for all below it, `*`. Empty: any.",
        (),
    )
    senders: tuple[str, ...] = key("The same for the domain of the sender.", ())
    servers: tuple[str, ...] = key(
        "Servers, tried in order: `host`, `host:port`, `[v6]:port`. Empty: the mail exchangers of "
        "the recipient's domain.",
        (),
    )
    protocol: str = key("What they speak.", "smtp", choices=("smtp", "lmtp"))
    tls: str = key("As `outbound.smarthost_tls`.", "verified", choices=TLS_DEMANDS)
    credentials: str = key("As `outbound.smarthost_credentials`.", "")
    source_address: str = key(
        "Address of this machine to connect from; empty: as `outbound.source_addresses`.", ""
    )
