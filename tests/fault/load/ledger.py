"""The client's own ledger: one line for each thing it knows, written before anything else happens.

    A NAME ID    the server answered 250 and named the message ID
    L NAME       a transmission may have arrived, but no answer came
    R NAME CODE  the server refused the message; it is sent again
    C PORT       connected

Each line is one write to a file opened for appending. The server never sees the file, and nothing
that is done to the server touches the client.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path


class LedgerWriter:
    """For the client."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def _write(self, line: str) -> None:
        os.write(self._descriptor, line.encode())

    def accepted(self, name: str, message_id: str) -> None:
        self._write(f"A {name} {message_id}\n")

    def unanswered(self, name: str) -> None:
        self._write(f"L {name}\n")

    def refused(self, name: str, code: int) -> None:
        self._write(f"R {name} {code}\n")

    def connected(self, port: int) -> None:
        self._write(f"C {port}\n")


@dataclass(slots=True)
class Ledger:
    """What a ledger says."""

    accepted: dict[str, str] = field(default_factory=dict)  # message id of the server → name
    unanswered: Counter[str] = field(default_factory=Counter)
    codes: Counter[int] = field(default_factory=Counter)  # of replies that refused a message
    refused_names: Counter[str] = field(default_factory=Counter)
    connections: int = 0

    @property
    def refused(self) -> int:
        return self.codes.total()

    def add(self, other: Ledger) -> None:
        self.accepted |= other.accepted
        self.unanswered += other.unanswered
        self.codes += other.codes
        self.refused_names += other.refused_names
        self.connections += other.connections

    def read_line(self, line: str) -> None:
        match line.split():
            case ["A", name, message_id]:
                assert message_id not in self.accepted, f"{message_id} was given out twice"
                self.accepted[message_id] = name
            case ["L", name]:
                self.unanswered[name] += 1
            case ["R", name, code]:
                self.codes[int(code)] += 1
                self.refused_names[name] += 1
            case ["C", _]:
                self.connections += 1
            case _:
                raise ValueError(f"not a line of a ledger: {line!r}")


class LedgerReader:
    """Follows a ledger while it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._rest = ""
        self.ledger = Ledger()

    def refresh(self) -> Ledger:
        """What it says by now."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
            self._offset += len(data)
            *lines, self._rest = (self._rest + data.decode()).split("\n")
            for line in lines:
                self.ledger.read_line(line)
        return self.ledger
