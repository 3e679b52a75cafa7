"""What a dead worker or hook host has left running: commands that were delivering, hooks.

The supervisor adopts them (a child subreaper, prctl(2)) and ends them before the units of the dead
worker go to others, so that no two processes deliver one message at the same time.
"""

from __future__ import annotations

import ctypes
import logging
import os
from typing import TYPE_CHECKING

from relevo.hooks.descendants import kill_descendants

if TYPE_CHECKING:
    from collections.abc import Iterable

logger = logging.getLogger("relevo.supervisor")

_PR_SET_CHILD_SUBREAPER = 36
_PATIENCE = 1.0  # seconds; the supervisor does nothing else meanwhile


def adopt_strays() -> None:
    """Whatever loses its parent below this process becomes a child of it."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_strays(own: Iterable[int]) -> None:
    """Kill all children that are not in `own`, and what is below them."""
    if not kill_descendants(os.getpid(), spare=frozenset(own), patience=_PATIENCE):
        logger.error("processes that a dead child has started are still running")
