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
    Command,
    Step,
    indexed,
    options,
)
from relevo.hooks.services.failures import ServiceFailed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_MAX_LISTS = 16
_UNWANTED = {
    Command.CONNECT: Step.NO_CONNECT,
    Command.HELO: Step.NO_HELO,
    Command.MAIL: Step.NO_MAIL,
    Command.RCPT: Step.NO_RCPT,
    Command.DATA: Step.NO_DATA,
    Command.HEADER: Step.NO_HEADERS,
    Command.END_OF_HEADER: Step.NO_END_OF_HEADER,
    Command.BODY: Step.NO_BODY,
}
_SILENT = {
    Command.CONNECT: Step.SILENT_CONNECT,
    Command.HELO: Step.SILENT_HELO,
    Command.MAIL: Step.SILENT_MAIL,
    Command.RCPT: Step.SILENT_RCPT,
    Command.DATA: Step.SILENT_DATA,
    Command.HEADER: Step.SILENT_HEADER,
    Command.END_OF_HEADER: Step.SILENT_END_OF_HEADER,
    Command.BODY: Step.SILENT_BODY,
}
_VERSION_WITH_DATA = 4


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
    """`macros`: the names that the filter wants to be told, for the places it has said so.

    `left_out`: commands that it does not get, `silent`: those that it does not answer. They are
    looked up for every field of a header, so they are known from the beginning.
    """

    version: int
    actions: Action
    steps: Step
    macros: Mapping[int, Collection[str]] = field(default_factory=dict)
    left_out: frozenset[Command] = field(init=False)
    silent: frozenset[Command] = field(init=False)

    def __post_init__(self) -> None:
        left_out = {command for command, step in _UNWANTED.items() if self.has(step)}
        if self.version < _VERSION_WITH_DATA:
            left_out.add(Command.DATA)
        silent = {command for command, step in _SILENT.items() if self.has(step)}
        object.__setattr__(self, "left_out", frozenset(left_out))
        object.__setattr__(self, "silent", frozenset(silent))

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


def _macros(data: bytes) -> dict[int, tuple[str, ...]]:
    found: dict[int, tuple[str, ...]] = {}
    for _ in range(_MAX_LISTS):
        if not data:
            return found
        place, data = indexed(data)
        names, end, data = data.partition(b"\0")
        if not end:
            break
        words = names.replace(b",", b" ").split()
        found[place] = tuple(dict.fromkeys(word.strip(b"{}").decode("latin-1") for word in words))
    raise ServiceFailed("its lists of macros are broken")
