"""A restart: the trial, and becoming the next program.

The supervisor's process goes on as the program and the configuration that are on disk, with the
same process id, listening sockets and data directory (see `handover`). There is never more than
one generation of workers: the old ones drain, then the program is replaced, then the new ones
start. So no unit has two owners, no database two versions, and whoever connects meanwhile waits in
the backlog.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from typing import TYPE_CHECKING

from relevo.service.rehearsal import Rehearsal
from relevo.service.start_failure import StartFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from relevo.service.handover import Handover

logger = logging.getLogger("relevo.supervisor")


def hold_back_endings() -> None:
    """Until the next program listens: a TERM on the way to it would be lost.

    What is blocked, and what is pending, both go with the process through execve(2).
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))


class Restarting:
    """The restarts of one server. At most one is tried at a time."""

    def __init__(self, command: Sequence[str], make_handover: Callable[[], Handover]) -> None:
        """`command`: what the server was started with; without one there is no restart."""
        self._command = tuple(command)
        self._make_handover = make_handover
        self._rehearsal: Rehearsal | None = None
        self.problems: list[str] = []  # of the last one that was refused

    @property
    def pid(self) -> int:
        """Of the trial that is running; 0: none."""
        return 0 if self._rehearsal is None else self._rehearsal.pid

    def try_it(self, obstacle: str) -> list[str]:
        """Start the trial, unless there is an obstacle (""; none); what keeps us from it."""
        if self._rehearsal is not None:
            return []
        if not self._command:
            obstacle = "only a server that was started with `relevo serve` restarts itself"
        if not obstacle:
            try:
                self._rehearsal = Rehearsal(self._command, self._make_handover())
            except OSError as error:
                obstacle = f"no trial start: {error.strerror}"
        self._refuse([obstacle] if obstacle else [])
        return self.problems

    def next_due(self) -> list[float]:
        """When `look` has something to do."""
        return [] if self._rehearsal is None else [self._rehearsal.kill_at]

    def look(self, now: float) -> None:
        """End a trial that takes too long."""
        if self._rehearsal is not None and self._rehearsal.kill_at <= now:
            self._rehearsal.kill()

    def cancel(self) -> None:
        """There will be no restart."""
        if self._rehearsal is not None:
            self._rehearsal.kill()

    def on_end(self, pid: int, code: int) -> bool:
        """A child has ended and was reaped. True: it was the trial, and it went well."""
        if self._rehearsal is None or self._rehearsal.pid != pid:
            return False
        problems = self._rehearsal.problems(code)
        self._rehearsal = None
        self._refuse(problems)
        return not problems

    def _refuse(self, problems: list[str]) -> None:
        self.problems = problems
        for problem in problems:
            logger.error("restart refused, everything stays as it was: %s", problem)

    def become_the_next(self) -> None:
        """Never returns; no child may be left. Raises StartFailed."""
        handover = self._make_handover()
        for number in (signal.SIGHUP, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)  # until the program has its own way with them
        logger.info("restarting now")
        logging.shutdown()
        try:
            with handover.inheritable():
                os.execve(  # noqa: S606 - our own command line, once more
                    sys.executable, self._command, handover.environment(os.environ)
                )
        except OSError as error:
            raise StartFailed(f"cannot restart: {sys.executable}: {error.strerror}") from error
