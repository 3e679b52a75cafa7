"""What went wrong in a command, as one message and an exit code.

Loaded only when something did. Every error that a command may meet stands in one table here; what
does not is a fault of relevo's own.
"""

from __future__ import annotations

import os
import traceback
from dataclasses import dataclass

import apsw

from relevo.cli.dkim_files import DkimRefused
from relevo.cli.options import EXIT_CONFIG, EXIT_FAULT, EXIT_NO, EXIT_NOT_RUNNING, EXIT_USAGE
from relevo.cli.queue_choice import NotWaiting
from relevo.config import ConfigErrors
from relevo.directory import DirectoryErrors, FileError
from relevo.journal import MailLogUnavailable
from relevo.mail import InvalidAddress
from relevo.queue import ContentUnreadable, DatabaseError
from relevo.service.control import NotRunning
from relevo.service.data_dir import DataDirError
from relevo.service.supervisor import StartFailed

TRACEBACK_VARIABLE = "RELEVO_TRACEBACK"

_EXIT_CODES: tuple[tuple[type[Exception], int], ...] = (
    (ConfigErrors, EXIT_CONFIG),
    (DirectoryErrors, EXIT_CONFIG),
    (FileError, EXIT_CONFIG),
    (StartFailed, EXIT_CONFIG),
    (DataDirError, EXIT_CONFIG),
    (DatabaseError, EXIT_CONFIG),
    (MailLogUnavailable, EXIT_CONFIG),
    (InvalidAddress, EXIT_USAGE),
    (NotWaiting, EXIT_NO),
    (DkimRefused, EXIT_NO),
    (ContentUnreadable, EXIT_CONFIG),
    (TimeoutError, EXIT_NO),
)


@dataclass(frozen=True, slots=True)
class Failure:
    """What to say (after `relevo: `) and how to end."""

    text: str
    exit_code: int


def explain(error: Exception) -> Failure:
    """Never raises. With RELEVO_TRACEBACK set, a fault's text has the traceback."""
    for kind, code in _EXIT_CODES:
        if isinstance(error, kind):
            return Failure(str(error), code)
    match error:
        case NotRunning() if isinstance(error.__cause__, PermissionError):
            text = f"{error.__cause__.strerror}: ask as root or as the user of the server"
            return Failure(text, EXIT_CONFIG)
        case NotRunning():
            return Failure(f"{error}; start one with `relevo serve`", EXIT_NOT_RUNNING)
        case apsw.CorruptError() | apsw.NotADBError():
            text = f"the queue's database is damaged ({error}): see `relevo queue repair --help`"
            return Failure(text, EXIT_CONFIG)
        case apsw.Error():
            return Failure(f"the queue's database: {error}", EXIT_CONFIG)
        case OSError(strerror=str(), filename=str() | bytes() | os.PathLike()):
            return Failure(f"{os.fsdecode(error.filename)}: {error.strerror}", EXIT_CONFIG)
        case OSError():
            return Failure(str(error), EXIT_CONFIG)
        case _:
            return Failure(_fault(error), EXIT_FAULT)


def _fault(error: Exception) -> str:
    text = f"fault in relevo: {type(error).__name__}: {error}"
    if os.environ.get(TRACEBACK_VARIABLE):
        return f"{text}\n{''.join(traceback.format_exception(error)).rstrip()}"
    return f"{text} (set {TRACEBACK_VARIABLE}=1 to see where, and report it)"
