"""Looking through a chasquid data directory, and taking over what is in it.

    queue/m:*         queue items        → messages, see `relevo.service.takeover.conversion`
    domaininfo/s:*    security levels    → the queue's table of domains

The order of a takeover: everything becomes durable here, then the originals are moved into
`chasquid-backup-TIME/` in the same directory. Ids are derived from chasquid's, so what an
interruption left is taken over by the next run without coming twice. A file that cannot be read
stays where it is.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import apsw

from relevo.mail import InvalidAddress, normalize_domain
from relevo.queue import DatabaseError
from relevo.queue.disk import Disk
from relevo.queue.levels_by_hand import KnownLevels, raise_levels
from relevo.queue.loading import Loaded, Loader, SavedMessage, give_to_owner
from relevo.queue.store import StoreFailed
from relevo.service.data_dir import DataDirError
from relevo.service.takeover.conversion import Site, convert
from relevo.service.takeover.formats import (
    ITEM_PREFIX,
    LEVEL_PREFIX,
    Unreadable,
    read_item,
    read_levels,
)
from relevo.service.takeover.running import is_running_on

if TYPE_CHECKING:
    from relevo.config import Config
    from relevo.directory import Directory

_log = logging.getLogger(__name__)

_QUEUE, _LEVELS = "queue", "domaininfo"


class TakeoverFailed(DataDirError):
    """Not all could be taken over; what was not is where it was."""


class ChasquidIsRunning(TakeoverFailed):
    """chasquid still works on the directory."""


@dataclass(frozen=True, slots=True)
class Found:
    """A queue item that can be taken over."""

    path: Path
    item_id: str
    created: float
    reverse_path: str
    size: int
    waiting: int  # recipients
    messages: tuple[str, ...]  # ids here


@dataclass(slots=True)
class Takeover:
    """What was found, and, after `take_over`, where the originals are."""

    items: list[Found] = field(default_factory=list)
    domains: list[KnownLevels] = field(default_factory=list)
    level_files: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)  # files that stay, with the reason
    known: set[str] = field(default_factory=set)  # ids that had been taken over before
    moved_to: Path | None = None

    @property
    def is_empty(self) -> bool:
        return not self.items and not self.level_files


def examine(directory: Path, site: Site, *, now: float) -> Takeover:
    """What a takeover would find; changes nothing."""
    found = Takeover()
    for _ in _messages(directory, site, found, now):
        pass
    _find_levels(directory, found)
    return found


def take_over(directory: Path, site: Site, *, now: float) -> Takeover:
    """Take everything over into the queue of the configured data directory, which must exist.

    Raises ChasquidIsRunning, TakeoverFailed.
    """
    if is_running_on(directory):
        raise ChasquidIsRunning(f"chasquid still runs on {directory}: stop it first")
    data_dir = site.config.data_dir
    found = Takeover()
    try:
        with Loader(data_dir, inline_size=site.config.queue.inline_size) as loader:
            states = loader.load(_messages(directory, site, found, now))
        found.known = {one for one, state in states.items() if state is not Loaded.ADDED}
        _find_levels(directory, found)
        raise_levels(data_dir, found.domains, now=now)
        _move(directory, found, now)
    except (apsw.Error, OSError, DatabaseError, StoreFailed) as error:
        raise TakeoverFailed(f"cannot take over what chasquid left in {directory}: {error}") from (
            error
        )
    return found


def take_over_at_start(config: Config, directory: Directory) -> None:
    """What chasquid left in the server's own data directory; a quick look if it left nothing.

    Before the first worker runs. Raises TakeoverFailed.
    """
    data_dir = config.data_dir
    try:
        if not _item_paths(data_dir) and not _level_paths(data_dir):
            return
    except OSError as error:
        raise TakeoverFailed(f"cannot look at what chasquid left: {error}") from error
    found = take_over(data_dir, Site(config, directory), now=time.time())
    for problem in found.problems:
        _log.warning("left by chasquid and not taken over: %s", problem)
    if not found.is_empty:
        _log.info(
            "taken over from chasquid: %d messages, security levels of %d domains; originals in %s",
            len(found.items), len(found.level_files), found.moved_to,
        )  # fmt: skip


def _messages(directory: Path, site: Site, found: Takeover, now: float) -> Iterator[SavedMessage]:
    """The messages of the items, oldest file name first; notes what was found on the way."""
    for path in _item_paths(directory):
        try:
            item = read_item(path)
            converted = convert(item, site, now=now)
        except Unreadable as error:
            found.problems.append(_with_path(path, error))
            continue
        yield from converted.messages
        found.items.append(
            Found(
                path, item.id, item.created, item.reverse_path, len(item.data),
                converted.waiting, tuple(message.id for message in converted.messages),
            )
        )  # fmt: skip


def _find_levels(directory: Path, found: Takeover) -> None:
    for path in _level_paths(directory):
        try:
            levels = read_levels(path)
            name = normalize_domain(levels.name)
        except (Unreadable, InvalidAddress) as error:
            found.problems.append(_with_path(path, error))
            continue
        found.level_files.append(path)
        if levels.incoming or levels.outgoing:  # without a row both are PLAIN
            found.domains.append(KnownLevels(name, levels.incoming, levels.outgoing))


def _with_path(path: Path, error: Exception) -> str:
    text = str(error)
    return text if text.startswith(str(path)) else f"{path}: {text}"


def _item_paths(directory: Path) -> list[Path]:
    return _paths(directory / _QUEUE, ITEM_PREFIX)


def _level_paths(directory: Path) -> list[Path]:
    return _paths(directory / _LEVELS, LEVEL_PREFIX)


def _paths(folder: Path, prefix: str) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.name.startswith(prefix))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _move(directory: Path, found: Takeover, now: float) -> None:
    """The originals into the backup folder, durably."""
    if found.is_empty:
        return
    disk = Disk()
    label = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    backup = directory / f"chasquid-backup-{label}"
    moves = {
        _QUEUE: [item.path for item in found.items],
        _LEVELS: found.level_files,
    }
    for name, paths in moves.items():
        folder = backup / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        give_to_owner(folder, directory)
        for path in paths:
            path.rename(folder / path.name)
        disk.sync_directory(folder)
        if paths:
            disk.sync_directory(directory / name)
    give_to_owner(backup, directory)
    disk.sync_directory(backup)
    disk.sync_directory(directory)
    found.moved_to = backup
