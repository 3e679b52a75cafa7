"""What wakes the supervisor: signals, descriptors that can be read, and a time.

No event loop: one selector, one `wait` at a time, and nothing that a fork could not carry over. The
child of a fork gives it up with `leave`.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
import time
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

logger = logging.getLogger("relevo.supervisor")


class Wakeups:
    """Descriptors and signals, each with what is to be done then."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._owned: set[int] = set()
        self._signals: tuple[socket.socket, ...] = ()

    def watch(self, file: socket.socket, action: Callable[[], object]) -> None:
        """Call `action` whenever `file` can be read."""
        self._selector.register(file, selectors.EVENT_READ, action)

    def forget(self, file: socket.socket) -> None:
        """Before it is closed."""
        self._selector.unregister(file)

    def own(self, descriptor: int, action: Callable[[], object]) -> None:
        """Like `watch`, for a descriptor that is closed by `disown`, and in children."""
        self._selector.register(descriptor, selectors.EVENT_READ, action)
        self._owned.add(descriptor)

    def disown(self, descriptor: int) -> None:
        """Close it."""
        self._selector.unregister(descriptor)
        self._owned.discard(descriptor)
        os.close(descriptor)

    def watch_signals(
        self, numbers: Iterable[signal.Signals], act: Callable[[signal.Signals], object]
    ) -> None:
        """Call `act` for each signal of `numbers`, in a `wait` and never in the midst of a step.

        Those that were held back until now come in the next one.
        """
        receiver, sender = socket.socketpair()
        receiver.setblocking(False)
        sender.setblocking(False)
        self._signals = (receiver, sender)
        signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
        expected = frozenset(numbers)
        for number in expected:
            signal.signal(number, lambda _number, _frame: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, expected)

        def take() -> None:
            for number in set(receiver.recv(4096)):
                if number in expected:
                    do(partial(act, signal.Signals(number)))

        self.watch(receiver, take)

    def wait(self, until: float | None) -> None:
        """Do what happens until then (of time.monotonic(); None: until something happens)."""
        timeout = None if until is None else max(0.0, until - time.monotonic())
        for key, _ in self._selector.select(timeout):
            do(key.data)

    def leave(self) -> None:
        """In a child: nothing of it stays open."""
        for descriptor in self._owned:
            os.close(descriptor)
        self._selector.close()
        for each in self._signals:
            each.close()


def do(action: Callable[[], object]) -> None:
    """The border: all workers end with their supervisor, so no error ends it."""
    try:
        action()
    except Exception:
        logger.exception("unexpected error, the supervisor goes on")
