"""What was agreed upon with a filter when the connection was made."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from relevo.hooks.milter.packets import (
    ALL_ACTIONS,
    ALL_STEPS,
    OLDEST,
    VERSION,
    Action,
    Step,
    indexed,
    options,
)
from relevo.hooks.services.failures import ServiceFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_LISTS = 16


class Place(IntEnum):
    """Where macros are told; the numbers are those of the negotiation."""

    CONNECT = 0
    HELO = 1
    MAIL = 2
    RCPT = 3
    DATA = 4
    END_OF_MESSAGE = 5
    END_OF_HEADER = 6


@dataclass(frozen=True, slots=True)
class Agreement:
    """`macros`: the names that the filter wants to be told, for the places it has said so."""

    version: int
    actions: Action
    steps: Step
    macros: Mapping[int, frozenset[str]] = field(default_factory=dict)

    def has(self, step: Step) -> bool:
        return bool(self.steps & step)


def read_agreement(data: bytes) -> Agreement:
    """From the filter's answer to `packets.offer`. Raises ServiceFailed."""
    version, actions, steps, rest = options(data)
    if not OLDEST <= version <= VERSION:
        raise ServiceFailed(f"it speaks version {version} of the protocol")
    if actions & ~int(ALL_ACTIONS) or steps & ~int(ALL_STEPS):
        raise ServiceFailed("it wants actions or steps that were not offered")
    return Agreement(version, Action(actions), Step(steps), _macros(rest))


def _macros(data: bytes) -> dict[int, frozenset[str]]:
    found: dict[int, frozenset[str]] = {}
    for _ in range(_MAX_LISTS):
        if not data:
            return found
        place, data = indexed(data)
        names, end, data = data.partition(b"\0")
        if not end:
            break
        words = names.replace(b",", b" ").split()
        found[place] = frozenset(word.strip(b"{}").decode("latin-1") for word in words)
    raise ServiceFailed("its lists of macros are broken")
