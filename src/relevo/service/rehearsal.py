"""A restart is tried before it is done: the new program starts as far as it can beside the old.

`relevo serve --dry-run` loads the program and the configuration as they are on disk now, reads
every file, and opens the listeners that the running server does not have. Only when it ends well
does the old server begin to drain; otherwise its words are what is wrong, and nothing has changed.
What it cannot try is the database, which is in use.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from relevo.service.listeners import open_sockets
from relevo.service.logs import setup_logging
from relevo.service.privileges import service_user
from relevo.service.restart import refuse_another_data_dir
from relevo.service.start_failure import failing_to_start
from relevo.service.validation import validate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relevo.config import Config
    from relevo.service.handover import Handover

OPTION = "--dry-run"
_PATIENCE = 60.0  # seconds: many users take some to read
_MAX_OUTPUT = 65536


def rehearse(config: Config, handover: Handover | None) -> None:
    """All that a start does before it takes the data directory, and nothing that stays.

    Raises StartFailed, ConfigErrors.
    """
    logging.disable()  # what it would say is said at the start itself
    try:
        _rehearse(config, handover)
    finally:
        logging.disable(logging.NOTSET)


def _rehearse(config: Config, handover: Handover | None) -> None:
    held = {} if handover is None else handover.open_sockets()
    if handover is not None:
        refuse_another_data_dir(Path(handover.data_dir), config)
    with failing_to_start():
        service_user(config)
        setup_logging(config)
        open_sockets(config, os.environ, held).close()
        validate(config)


class Rehearsal:
    """The supervisor's side: a child that tries, and what it said."""

    def __init__(self, command: Sequence[str], handover: Handover) -> None:
        """Start it: `command` is what the server was started with. Raises OSError."""
        words = [sys.executable, *command[1:], OPTION]
        self._output = os.memfd_create("relevo-trial")  # nobody has to read it meanwhile
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, self._output, 1),
            (os.POSIX_SPAWN_DUP2, self._output, 2),
        ]
        try:
            with handover.inheritable():
                self.pid = os.posix_spawn(
                    words[0], words, handover.environment(os.environ), file_actions=actions
                )
        except OSError:
            os.close(self._output)
            raise
        self.kill_at = time.monotonic() + _PATIENCE

    def kill(self) -> None:
        """It takes too long, or nobody wants to know any more."""
        self.kill_at = time.monotonic() + _PATIENCE
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def problems(self, code: int) -> list[str]:
        """After its end: why a restart would fail, a line each; [] when it would not."""
        text = os.pread(self._output, _MAX_OUTPUT, 0).decode("utf-8", "replace")
        os.close(self._output)
        if code == 0:
            return []
        lines = [line.strip().removeprefix("relevo: ") for line in text.splitlines()]
        return [line for line in lines if line] or [f"the trial start ended with {code}"]
