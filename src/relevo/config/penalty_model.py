"""The part of the configuration tree that is about sources that misbehave."""

# ruff: noqa: RUF009 -- key() is dataclasses.field() with documentation, not a value

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from relevo.config.key import key

_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)
_MOST_POINTS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Penalties:
    """[penalties]: points of a source, an IPv4 address or an IPv6 /64."""

    enabled: bool = key(
        "Slow down, then refuse sources (IPv4 addresses, IPv6 /64) that misbehave.", True
    )
    exempt: tuple[str, ...] = key(
        "Addresses and networks that get no points. Proxies of `proxy.trusted` and "
        "`xclient.trusted` get none either: their clients do.",
        ("127.0.0.0/8", "::1/128"),
    )
    auth_failure: int = key("Points of a failed login.", 5, least=0, most=_MOST_POINTS)
    unknown_recipient: int = key(
        "Points of a recipient refused for good (5xx). Taken back when a message is accepted "
        "for more recipients than its transaction had refused.",
        2,
        least=0,
        most=_MOST_POINTS,
    )
    protocol_error: int = key(
        "Points of a command refused as syntax, sequence or protocol error.",
        2,
        least=0,
        most=_MOST_POINTS,
    )
    connections_per_minute: int = key(
        "Connections of a source, over all workers, above which each brings a point.",
        1200,
        least=1,
    )
    commands_per_minute: int = key(
        "MAIL, RCPT and AUTH commands of a source above which each hundred brings a point.",
        60_000,
        least=1,
    )
    half_life: timedelta = key(
        "Points halve in this time.", timedelta(minutes=10), least=_SECOND, most=_DAY
    )
    delay_from: int = key(
        "Points from which answers to what brings points, and greetings, are delayed.",
        20,
        least=1,
        most=_MOST_POINTS,
    )
    max_delay: timedelta = key(
        "The delay at `penalties.refuse_from`; it grows to this.",
        timedelta(seconds=5),
        least=timedelta(0),
        most=timedelta(minutes=1),
    )
    refuse_from: int = key(
        "Points from which connections are answered 421 for a while.",
        100,
        least=1,
        most=_MOST_POINTS,
    )
    refuse_for: timedelta = key(
        "How long, the first time; each further time twice as long.",
        timedelta(minutes=1),
        least=_SECOND,
        most=_DAY,
    )
    refuse_at_most: timedelta = key(
        "But no longer than this.", timedelta(hours=1), least=_SECOND, most=7 * _DAY
    )
