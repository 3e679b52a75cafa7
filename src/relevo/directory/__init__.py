"""Our domains, users and aliases: read from the config directory, answered from memory.

`DirectoryWatcher` keeps `Directory`, an immutable picture, up to date with the files. A look-up is
three-valued: found, absent, unknown now; an error is never "no such user". The modules `users`,
`users_editing` and `replacement` are public too, for those who check or change credentials.
"""

from relevo.directory.directory import Directory
from relevo.directory.ownership import owns, owns_now
from relevo.directory.problems import DirectoryErrors, FileError, FileProblem
from relevo.directory.resolution import AliasHookFailed, AliasHooks, UserSource
from relevo.directory.values import (
    Existence,
    ExpansionFailed,
    MailTarget,
    PipeTarget,
    Target,
    UnknownNow,
    ViaTarget,
)
from relevo.directory.watching import DirectoryWatcher

__all__ = [
    "AliasHookFailed",
    "AliasHooks",
    "Directory",
    "DirectoryErrors",
    "DirectoryWatcher",
    "Existence",
    "ExpansionFailed",
    "FileError",
    "FileProblem",
    "MailTarget",
    "PipeTarget",
    "Target",
    "UnknownNow",
    "UserSource",
    "ViaTarget",
    "owns",
    "owns_now",
]
