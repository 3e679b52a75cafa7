"""A persistent hook process, as its launcher sees it: started, looked at, and ended.

Its stdin, stdout and stderr are pipes whose other ends are lent to a worker of the server, which
speaks with it (`worker_channel`). The launcher keeps no end of them.
"""

from __future__ import annotations

import os
import resource
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from relevo.hooks.wire import read_environment

if TYPE_CHECKING:
    from collections.abc import Sequence

_PAGE = os.sysconf("SC_PAGE_SIZE")


class WorkerProcess:
    """One process. Raises OSError where it cannot be started."""

    def __init__(
        self, words: Sequence[bytes], environment: bytes, *, cpu_s: int, ignored: Sequence[int]
    ) -> None:
        """`ignored`: signals that the launcher ignores and the process shall not."""
        self.started = time.monotonic()
        self.status: int | None = None  # as waitpid(2) says it, once it has ended
        in_read, in_write = os.pipe2(os.O_CLOEXEC)
        out_read, out_write = os.pipe2(os.O_CLOEXEC)
        err_read, err_write = os.pipe2(os.O_CLOEXEC)
        self.lent = [in_write, out_read, err_read]
        try:
            for end in self.lent:
                os.set_blocking(end, False)
            self.pid = os.posix_spawn(
                words[0],
                list(words),
                read_environment(environment),
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, in_read, 0),
                    (os.POSIX_SPAWN_DUP2, out_write, 1),
                    (os.POSIX_SPAWN_DUP2, err_write, 2),
                ],
                setsid=True,
                setsigmask=[],
                setsigdef=ignored,
            )
        except BaseException:
            self.close()
            raise
        finally:
            for end in (in_read, out_write, err_write):
                os.close(end)
        if cpu_s:
            resource.prlimit(self.pid, resource.RLIMIT_CPU, (cpu_s, cpu_s))

    def close(self) -> None:
        """The ends that are lent; whoever got them has them."""
        while self.lent:
            os.close(self.lent.pop())

    def resident(self) -> int:
        """Octets of memory that it uses; 0 when that cannot be seen."""
        try:
            with open(f"/proc/{self.pid}/statm", "rb") as file:  # noqa: PTH123 - a hot path
                return int(file.read().split()[1]) * _PAGE
        except (OSError, ValueError, IndexError):
            return 0

    def has_ended(self) -> bool:
        """Reaps it."""
        if self.status is None:
            with suppress(ChildProcessError):
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if pid:
                    self.status = status
        return self.status is not None

    def how_it_ended(self) -> str:
        """In words; "" while it runs."""
        if self.status is None:
            return ""
        code = os.waitstatus_to_exitcode(self.status)
        return f"ended by signal {-code}" if code < 0 else f"exit status {code}"

    def kill(self) -> None:
        """It and its group."""
        if self.status is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
