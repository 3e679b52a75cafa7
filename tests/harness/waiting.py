"""Waiting for what another process does, with a deadline and a reason."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
LOOK_AGAIN_S = 0.01


class WaitedInVain(AssertionError):
    """What was waited for did not come in time."""


def wait_for(look: Callable[[], T | None], *, timeout_s: float = 10.0, what: str = "") -> T:
    """Call `look` until it returns something true, and return that.

    For what leaves no event to wait on: files of another process, its listeners, /proc. Raises
    WaitedInVain, naming `what`, after `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() >= deadline:
            raise WaitedInVain(f"waited {timeout_s:g} s in vain for {what or look.__qualname__}")
        time.sleep(LOOK_AGAIN_S)
