"""The part of the configuration tree that is about mail kept for `relevo hook replay`."""

# ruff: noqa: RUF009 -- key() is dataclasses.field() with documentation, not a value

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from relevo.config.key import key

_DAY = timedelta(days=1)
_MIB = 1024 * 1024

REDACTIONS = ("nothing", "text", "bodies")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """[replay]: mail that is kept for a while, so that hooks can be tried on it."""

    keep: timedelta = key(
        "How long what hooks were asked about is kept, with what they said: messages, their "
        "envelopes, and the contexts of the other stages. 0s: nothing is kept.",
        timedelta(0),
        least=timedelta(0),
        most=90 * _DAY,
    )
    max_size: int = key(
        "Octets of it at most; the oldest goes first. Each worker has its share of them.",
        1024 * _MIB,
        unit="bytes",
        least=_MIB,
        most=1024 * 1024 * _MIB,
    )
    max_records: int = key(
        "Messages and contexts at most; the oldest goes first.",
        200_000,
        least=100,
        most=100_000_000,
    )
    max_message: int = key(
        "A message that is larger is not kept.",
        _MIB,
        unit="bytes",
        least=1024,
        most=1024 * _MIB,
    )
    redact: str = key(
        "What is not kept: `text`, letters and digits of bodies, in whose place others stand; "
        "`bodies`, bodies at all. Header fields are always kept.",
        "nothing",
        choices=REDACTIONS,
    )
