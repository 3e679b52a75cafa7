"""The part of the configuration tree that is about messages in quarantine."""

# ruff: noqa: RUF009 -- key() is dataclasses.field() with documentation, not a value

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from relevo.config.key import key

_DAY = timedelta(days=1)
_GIB = 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantine:
    """[quarantine]: messages that a hook or a policy sets aside until somebody decides."""

    keep: timedelta = key(
        "How long a message stays there; then it is dropped, and the history says so.",
        30 * _DAY,
        least=timedelta(minutes=1),
        most=3650 * _DAY,
    )
    max_messages: int = key(
        "Messages there at most. What is to be set aside beyond that gets 452 4.3.1, so that the "
        "client tries again later. 0: nothing is set aside.",
        10_000,
        least=0,
        most=1_000_000,
    )
    max_size: int = key(
        "All of their content together, at most; more gets the same answer.",
        _GIB,
        unit="bytes",
        least=0,
        most=1024 * _GIB,
    )
