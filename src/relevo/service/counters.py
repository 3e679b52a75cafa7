"""Counters and gauges of all workers, in memory that the supervisor maps before it forks.

Each worker writes only its own row; readers add the rows up. A row is kept when its worker dies,
so that the sums never go back. Every family of counters has a closed set of labels, so that no
client decides how much memory it takes: what has no cell of its own is counted under the last
label of the family. Counting is one addition in shared memory, without a system call.
"""

from __future__ import annotations

import mmap
from itertools import product
from typing import TYPE_CHECKING, Final, TypeVar

from relevo.journal import Accepted, Attempted, Authenticated, DsnSent, Outcome, Rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from relevo.journal import Event

_T = TypeVar("_T")

NAMES = (
    "accepted",
    "rejected",
    "delivered",
    "deferred",
    "failed",
    "dsns",
    "logins",
    "failed_logins",
    "loop_held_us",
)
"""What `relevo status` shows: counters, and the longest time that a callback held the loop."""

ROUTES = ("maildir", "mda", "lmtp", "discard", "pipe", "mx", "via", "smarthost", "other")
FAMILIES: Final[Mapping[str, tuple[str, ...]]] = {
    "commands": (
        *("HELO", "EHLO", "LHLO", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "AUTH"),
        *("STARTTLS", "XCLIENT", "NOOP", "HELP", "VRFY", "EXPN", "QUIT"),
        *("GET", "POST", "CONNECT", "unknown"),
    ),
    "replies": (*(str(code) for code in range(200, 600)), "other"),
    "connections": ("SMTP", "submission", "submission+TLS", "refused"),
    "attempts": tuple(f"{route} {each.value}" for route, each in product(ROUTES, Outcome)),
    "messages": ("tls", "plain"),
    "handshakes": ("TLS-1.2", "TLS-1.3", "failed", "other"),
    "spf": ("none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"),
    "dkim": ("pass", "fail", "policy", "neutral", "temperror", "permerror"),
    "dkim_messages": ("unsigned", "valid", "invalid"),
    "arc": ("none", "pass", "fail"),
    "dmarc": ("none", "pass", "fail", "temperror", "permerror"),
    "dmarc_handling": ("none", "quarantine", "reject"),
    "signing": ("signed", "failed", "sealed"),
    "levels": ("skip", "pass", "fail"),
    "loops": ("loops",),
    "penalties": (
        *("auth", "recipient", "protocol", "connections", "commands"),
        *("delayed", "refusals", "refused", "other"),
    ),
}
"""Families with labels; `attempts` are of a route and an outcome, with a blank between."""

GAUGES = ("pid", "is_ready", "restarts", "is_suspended", "store", "lag_us")
"""Written by the supervisor (the first three) and by the worker (the rest), for each row."""

_LOOP_ENHANCED = "5.4.6"  # RFC 3463 §3.5: routing loop detected
_CELL = 8
_OUTCOMES = {
    Outcome.DELIVERED: "delivered",
    Outcome.TEMPORARY: "deferred",
    Outcome.PERMANENT: "failed",
}
_ATTEMPTS = {(route, each): f"{route} {each.value}" for route, each in product(ROUTES, Outcome)}


def _layout() -> dict[tuple[str, str], int]:
    """The place of every cell in a row."""
    cells: list[tuple[str, str]] = [("", name) for name in (*NAMES, *GAUGES)]
    cells += [(family, label) for family, labels in FAMILIES.items() for label in labels]
    return {cell: place for place, cell in enumerate(cells)}


_PLACES: Final = _layout()
_ROW: Final = len(_PLACES)


class Counters:
    """The shared memory: one row a worker."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._cells = memoryview(mmap.mmap(-1, rows * _ROW * _CELL)).cast("Q")

    # -- writing, each row by its own worker

    def add(self, row: int, name: str, change: int = 1) -> None:
        """Count in the own row."""
        self._cells[row * _ROW + _PLACES["", name]] += change

    def put(self, row: int, name: str, value: int) -> None:
        """Set a gauge of a row."""
        self._cells[row * _ROW + _PLACES["", name]] = value

    def raise_to(self, row: int, name: str, value: int) -> None:
        """Keep the largest value seen in the own row."""
        place = row * _ROW + _PLACES["", name]
        self._cells[place] = max(self._cells[place], value)

    def add_to(self, row: int, family: str, label: str) -> None:
        """Count a label of a family."""
        place = _PLACES.get((family, label))
        if place is None:
            place = _PLACES[family, FAMILIES[family][-1]]
        self._cells[row * _ROW + place] += 1

    def command_counter(self, row: int) -> Callable[[bytes], None]:
        """Counts verbs in capitals."""
        labels = {label.encode(): label for label in FAMILIES["commands"]}
        return self._counter(row, "commands", labels)

    def reply_counter(self, row: int) -> Callable[[int], None]:
        """Counts reply codes."""
        return self._counter(row, "replies", {code: str(code) for code in range(200, 600)})

    def _counter(self, row: int, family: str, labels: Mapping[_T, str]) -> Callable[[_T], None]:
        places = {key: row * _ROW + _PLACES[family, label] for key, label in labels.items()}
        other = row * _ROW + _PLACES[family, FAMILIES[family][-1]]
        cells = self._cells

        def count(label: _T) -> None:
            cells[places.get(label, other)] += 1

        return count

    def count(self, row: int, event: Event) -> None:
        """Count an event by its kind."""
        match event:
            case Accepted(client=client, tls=tls):
                self.add(row, "accepted")
                if client:  # else a notification of ours
                    self.add_to(row, "messages", "tls" if tls else "plain")
            case Rejected(enhanced=enhanced):
                self.add(row, "rejected")
                if enhanced == _LOOP_ENHANCED:
                    self.add_to(row, "loops", "loops")
            case Attempted(outcome=outcome, route=route):
                self.add(row, _OUTCOMES[outcome])
                kind = route.partition(":")[0]
                kind = kind if kind in ROUTES else "other"
                self.add_to(row, "attempts", _ATTEMPTS[kind, outcome])
            case Authenticated(succeeded=succeeded):
                self.add(row, "logins" if succeeded else "failed_logins")
            case DsnSent():
                self.add(row, "dsns")
            case _:
                pass

    # -- reading

    def read(self) -> dict[str, int]:
        """Sums over all rows; of `loop_held_us` the largest."""
        sums = {name: sum(self._of_each_row("", name)) for name in NAMES}
        sums["loop_held_us"] = max(self._of_each_row("", "loop_held_us"))
        return sums

    def read_row(self, row: int) -> dict[str, int]:
        """One worker's counters."""
        return {name: self._cells[row * _ROW + _PLACES["", name]] for name in NAMES}

    def read_family(self, family: str) -> dict[str, int]:
        """Sums over all rows, of every label."""
        return {label: sum(self._of_each_row(family, label)) for label in FAMILIES[family]}

    def read_families(self) -> dict[str, dict[str, int]]:
        """All families."""
        return {family: self.read_family(family) for family in FAMILIES}

    def read_gauges(self) -> list[dict[str, int]]:
        """The gauges of each row."""
        return [
            {name: self._cells[row * _ROW + _PLACES["", name]] for name in GAUGES}
            for row in range(self._rows)
        ]

    def _of_each_row(self, family: str, name: str) -> Iterable[int]:
        place = _PLACES[family, name]
        return (self._cells[row * _ROW + place] for row in range(self._rows))
