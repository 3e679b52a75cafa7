"""A tether to a command: when this process is gone, however it went, the kernel kills the command.

A worker can be killed in the midst of a delivery (by the kernel for its memory, or with its
supervisor), and its unit goes to another one, or to the next server. The command must not go on
beside that. The tether is a pipe: the command inherits the reading end, which is set to signal
the command's process group when the other end closes (fcntl(2), F_SETSIG), and that happens at
the latest with our own end. It costs four system calls, and nothing has to run between fork and
exec. A command that closes the descriptor, or leaves its process group, is free.
"""

from __future__ import annotations

import fcntl
import os
import signal


class Tether:
    """For one command, which gets `end` and leads a process group of its own."""

    def __init__(self) -> None:
        self.end, self._ours = os.pipe2(os.O_CLOEXEC)

    def tie(self, group: int) -> None:
        """The command runs. Raises OSError."""
        fcntl.fcntl(self.end, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(self.end, fcntl.F_SETOWN, -group)
        flags = fcntl.fcntl(self.end, fcntl.F_GETFL)
        fcntl.fcntl(self.end, fcntl.F_SETFL, flags | fcntl.FASYNC)
        os.close(self.end)
        self.end = -1

    def cut(self) -> None:
        """The command is over, or was never started; what is left of its group is killed."""
        if self.end >= 0:
            os.close(self.end)
            self.end = -1
        if self._ours >= 0:
            os.close(self._ours)
            self._ours = -1
