"""Our domains, users and aliases: read from the config directory, answered from memory.

`DirectoryWatcher` keeps `Directory`, an immutable picture, up to date with the files. A look-up is
three-valued: found, absent, unknown now; an error is never "no such user".
"""

from relevo.directory.directory import Directory
from relevo.directory.values import (
    Existence,
    ExpansionFailed,
    MailTarget,
    PipeTarget,
    Target,
    UnknownNow,
    ViaTarget,
)

__all__ = [
    "Directory",
    "Existence",
    "ExpansionFailed",
    "MailTarget",
    "PipeTarget",
    "Target",
    "UnknownNow",
    "ViaTarget",
]
