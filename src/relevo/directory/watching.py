"""Keeping the directory up to date with its files.

At the first look every problem counts: `DirectoryErrors` names them all. Later, a bad edit leaves
the last good content of that file in force; it is logged once and stays in `problems` until the
file is good again. A deleted file is an empty one, a removed folder is no domain any more; a new
domain appears once its files are good.

A file is read again when its modification time, size or inode differ. A file modified within two
seconds before it was read is read once more, since a second edit might have left all three equal.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import time
from typing import TYPE_CHECKING, Generic, TypeVar

from relevo.directory.aliases import parse_aliases
from relevo.directory.directory import Directory, DomainFiles
from relevo.directory.domains import scan_domains
from relevo.directory.local_part import LocalPartRules
from relevo.directory.problems import DirectoryErrors, FileError, FileProblem
from relevo.directory.users import Credential, parse_users
from relevo.mail.address import InvalidAddress, normalize_local_address, parse_address

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from relevo.config.model import Config
    from relevo.directory.resolution import AliasHooks, UserSource
    from relevo.directory.values import Target

MAX_FILE_SIZE = 64 * 1024 * 1024
"""Largest users or aliases file, octets."""

_SETTLED_AFTER_S = 2.0
_DOMAINS = "domains"

_log = logging.getLogger("relevo.directory")

Content = TypeVar("Content")
Signature = tuple[int, int, int]


class DirectoryWatcher:
    """The current `Directory` of a config directory, and what is wrong in its files."""

    def __init__(
        self, config: Config, *, hooks: AliasHooks | None = None, users: UserSource | None = None
    ) -> None:
        """Read everything. Raises DirectoryErrors with all problems found."""
        self._folder = config.config_dir / _DOMAINS
        self._postmaster = config.postmaster
        self._rules = LocalPartRules(
            config.addresses.suffix_separators, config.addresses.drop_characters
        )
        self._hooks = hooks
        self._users = users
        self._domains: dict[str, _WatchedDomain] = {}
        self.problems: tuple[FileProblem, ...] = ()
        wrong = _postmaster_problems(config)
        _, problems = self._look(time.time())
        if wrong or problems:
            raise DirectoryErrors((*wrong, *problems))
        self.current = self._picture()

    def refresh(self, now: float) -> bool:
        """Look for changes; `now` is the time of day in seconds since 1970.

        True when `current` is a new one. Costs a listing of the domains and two stat calls for
        each of them; reads only what has changed. Never raises. May run in a thread, one call at a
        time: `current` changes in one step.
        """
        changed, problems = self._look(now)
        for problem in problems:
            if problem not in self.problems:
                _log.error("%s; the last good state stays in force", problem)
        self.problems = tuple(problems)
        if changed:
            self.current = self._picture()
        return changed

    def _look(self, now: float) -> tuple[bool, list[FileProblem]]:
        before = {name: domain for name, domain in self._domains.items() if domain.is_usable}
        try:
            folders, problems = scan_domains(self._folder)
        except FileError as error:
            folders = {name: domain.folder for name, domain in self._domains.items()}
            problems = [*error.problems]
        self._domains = {name: self._watched(name, folder) for name, folder in folders.items()}
        changed = False
        for domain in self._domains.values():
            changed |= domain.refresh(now) and domain.is_usable
            problems += domain.problems
        after = {name: domain for name, domain in self._domains.items() if domain.is_usable}
        return changed or before != after, problems

    def _watched(self, name: str, folder: Path) -> _WatchedDomain:
        old = self._domains.get(name)
        if old is not None and old.folder == folder:
            return old
        return _WatchedDomain(name, folder, self._rules)

    def _picture(self) -> Directory:
        return Directory(
            {name: domain.files() for name, domain in self._domains.items() if domain.is_usable},
            rules=self._rules,
            postmaster=self._postmaster,
            hooks=self._hooks,
            users=self._users,
        )


class _WatchedDomain:
    """The two files of a domain; usable once both have been good."""

    def __init__(self, name: str, folder: Path, rules: LocalPartRules) -> None:
        aliases, users = folder / "aliases", folder / "users"

        def read_aliases(data: bytes) -> Mapping[str, tuple[Target, ...]]:
            return parse_aliases(data, domain=name, rules=rules, path=aliases)

        def read_users(data: bytes) -> Mapping[str, Credential]:
            return parse_users(data, path=users)

        self.folder = folder
        self._aliases = _WatchedFile(aliases, read_aliases)
        self._users = _WatchedFile(users, read_users)

    def refresh(self, now: float) -> bool:
        changed = self._aliases.refresh(now)
        return self._users.refresh(now) or changed

    @property
    def is_usable(self) -> bool:
        return self._aliases.content is not None and self._users.content is not None

    @property
    def problems(self) -> list[FileProblem]:
        return [*self._users.problems, *self._aliases.problems]

    def files(self) -> DomainFiles:
        aliases, users = self._aliases.content, self._users.content
        assert aliases is not None
        assert users is not None
        return DomainFiles(self.folder, users, aliases)


class _WatchedFile(Generic[Content]):
    """Last good content of one file, None before there was any."""

    def __init__(self, path: Path, parse: Callable[[bytes], Content]) -> None:
        self.content: Content | None = None
        self.problems: tuple[FileProblem, ...] = ()
        self._path = path
        self._parse = parse
        self._signature: Signature | None = None
        self._digest: bytes | None = None

    def refresh(self, now: float) -> bool:
        """Read the file if it has changed; True when there is new good content."""
        try:
            if self._signature is not None and self._signature == _signature(self._path.stat()):
                return False
            data, status = _read_bounded(self._path)
        except (FileNotFoundError, NotADirectoryError):
            self._signature = None
            return self._take(b"")
        except OSError as error:
            text = f"cannot be read: {error.strerror}"
            return self._refuse(FileProblem(self._path, 0, text))
        except FileError as error:
            return self._refuse(*error.problems)
        is_settled = abs(now - status.st_mtime) >= _SETTLED_AFTER_S
        self._signature = _signature(status) if is_settled else None
        return self._take(data)

    def _refuse(self, *problems: FileProblem) -> bool:
        self._signature = self._digest = None
        self.problems = problems
        return False

    def _take(self, data: bytes) -> bool:
        digest = hashlib.sha256(data).digest()
        if digest == self._digest:
            return False
        self._digest = digest
        try:
            content = self._parse(data)
        except FileError as error:
            self.problems = error.problems
            return False
        self.problems = ()
        self.content = content
        return True


def _read_bounded(path: Path) -> tuple[bytes, os.stat_result]:
    # A named pipe must not hang the server: hence O_NONBLOCK, and only regular files are read.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise FileError(FileProblem(path, 0, "not a regular file"))
        data = file.read(MAX_FILE_SIZE + 1)
        if len(data) > MAX_FILE_SIZE:
            raise FileError(FileProblem(path, 0, f"larger than {MAX_FILE_SIZE} octets"))
        return data, status


def _signature(status: os.stat_result) -> Signature:
    return status.st_mtime_ns, status.st_size, status.st_ino


def _postmaster_problems(config: Config) -> list[FileProblem]:
    if not config.postmaster:
        return []
    try:
        normalize_local_address(parse_address(config.postmaster))
    except InvalidAddress as error:
        return [FileProblem(config.config_dir, 0, f"postmaster must be an address: {error}")]
    return []
