"""Processes of the supervisor's own: they start clean, and die with their supervisor."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import resource
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("relevo.supervisor")

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR2)
"""Those that the supervisor takes itself, and no child of it before it says so."""

_PR_SET_PDEATHSIG = 1
_FAILED = 70


def fork(live: Callable[[], int], name: str) -> int:
    """Start a process that does `live` and ends with the code it returns; its id. Raises OSError.

    For a process without threads. In the child the signals have their defaults.
    """
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    parent = os.getpid()
    # A signal to the child must find the child's own way with it, not ours.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        pid = os.fork()
    finally:
        if os.getpid() == parent:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    if pid:
        return pid
    code = _FAILED
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # A dump of its memory would hold mail, passwords and keys.
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        signal.set_wakeup_fd(-1)
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        # A parent that was gone before we could ask for the signal takes us with it as well.
        code = live() if os.getppid() == parent else 0
    except BaseException:
        logger.exception("%s failed", name)
    finally:
        logging.shutdown()
        os._exit(code)
