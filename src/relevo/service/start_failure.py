"""Why a server cannot start: what went wrong in any of its parts, as one error with one text."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from relevo.delivery import InvalidPattern
from relevo.directory import DirectoryErrors
from relevo.hooks.sandbox import SandboxUnavailable
from relevo.journal import MailLogUnavailable
from relevo.queue import DatabaseError
from relevo.service.certificates import CertificateError
from relevo.service.data_dir import DataDirError
from relevo.service.listeners import ListenFailed
from relevo.service.logs import LogUnavailable
from relevo.service.monitoring import TokenUnusable
from relevo.service.privileges import NoSuchUser

if TYPE_CHECKING:
    from collections.abc import Iterator

UNUSABLE_FILES = (
    CertificateError,
    DirectoryErrors,
    InvalidPattern,
    LogUnavailable,
    MailLogUnavailable,
    SandboxUnavailable,
    TokenUnusable,
)
"""What `validate` and the logs raise, beside ConfigErrors."""
_OF_THE_MACHINE = (ListenFailed, DataDirError, DatabaseError, NoSuchUser)


class StartFailed(Exception):
    """The server cannot start; the text says why and what to do."""


@contextlib.contextmanager
def failing_to_start() -> Iterator[None]:
    """Turns the errors of all parts into StartFailed."""
    try:
        yield
    except (*UNUSABLE_FILES, *_OF_THE_MACHINE) as error:
        raise StartFailed(str(error)) from error
