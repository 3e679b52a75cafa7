"""What a server keeps over a restart: its process id, its listening sockets, its data directory.

A restart replaces the program in the supervisor's process (execve(2)) after the last worker has
ended. Descriptors stay open meanwhile: the listening sockets, so that whoever connects waits in
their backlog and is not refused; the lock, so that nobody else takes the data directory; the
control socket, so that who asks gets an answer. `RELEVO_HANDOVER` in the environment names them.
"""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, MutableMapping

VARIABLE = "RELEVO_HANDOVER"


@dataclass(frozen=True, slots=True)
class Handover:
    """Descriptors, and what they are."""

    data_dir: str
    lock: int
    control: int
    sockets: dict[str, tuple[int, ...]]
    """By names as in `OpenSockets.by_name`."""

    @classmethod
    def take(cls, environ: MutableMapping[str, str]) -> Self | None:
        """What the program before us left; None at an ordinary start. Children inherit nothing."""
        text = environ.pop(VARIABLE, "")
        if not text:
            return None
        handover = msgspec.json.decode(text, type=cls)
        _set_inheritable(handover.descriptors, False)
        return handover

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """For the next program, which is to be started within `inheritable`."""
        return {**environ, VARIABLE: msgspec.json.encode(self).decode()}

    @contextmanager
    def inheritable(self) -> Iterator[None]:
        """What is started now gets the descriptors."""
        _set_inheritable(self.descriptors, True)
        try:
            yield
        finally:
            _set_inheritable(self.descriptors, False)

    def open_sockets(self) -> dict[str, list[socket.socket]]:
        """The listening sockets, which are the caller's from now on."""
        return {
            name: [socket.socket(fileno=number) for number in numbers]
            for name, numbers in self.sockets.items()
        }

    @property
    def descriptors(self) -> tuple[int, ...]:
        """All of them."""
        return (self.lock, self.control, *(fd for each in self.sockets.values() for fd in each))


def _set_inheritable(descriptors: Iterable[int], is_inheritable: bool) -> None:
    for each in descriptors:
        os.set_inheritable(each, is_inheritable)
