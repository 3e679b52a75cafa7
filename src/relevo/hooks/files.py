"""Which hooks there are: looked up afresh at every call, so that an edit counts for the next mail.

`hooks/<stage>` first, then the files of `hooks/<stage>.d/` in the order of their names. A missing
file or a link to nothing is no hook; anything else that keeps a file from running is found out by
trying. In the folder only names that run-parts(8) takes count (letters, digits, `_` and `-`), so
that backups and editors' leftovers are no hooks.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from relevo.hooks.contract import Stage

if TYPE_CHECKING:
    from collections.abc import Callable

_RUN_PARTS_NAME = re.compile(r"[A-Za-z0-9_-]+")
_MAX_HASHED = 16 * 1024 * 1024  # octets of a program that its version is made of
_MAX_VERSIONS = 256

NO_FOLDER_FOR_S = 0.02
"""As short as that no mail of somebody who has just made the folder comes sooner."""

Signature = tuple[int, int, int, int, int]
NOTHING: Signature = (0, 0, 0, 0, 0)
"""Of a file that cannot be looked at."""


@dataclass(frozen=True, slots=True)
class HookFile:
    """A hook that stands in the config directory; `signature` differs once the file does."""

    name: str  # relative to the config directory: "hooks/post-data"
    path: str
    signature: Signature
    is_writable_by_others: bool = False
    problem: str = ""  # why it cannot even be looked at


class HookFolder:
    """The `hooks` folder of a config directory. `clock`: seconds."""

    def __init__(self, config_dir: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._directory = config_dir / "hooks"
        self._paths = {
            stage: (self._directory / stage.value, self._directory / f"{stage.value}.d")
            for stage in Stage
            if stage.has_files
        }
        self._clock = clock
        self._none_until = dict.fromkeys(self._paths, float("-inf"))
        self._versions: dict[tuple[str, Signature], str] = {}

    def find(self, stage: Stage) -> list[HookFile]:
        """The hooks of a stage in the order of their calls; two system calls when there is none.

        That there is no folder of the stage is believed for `NO_FOLDER_FOR_S`.
        """
        single, folder = self._paths[stage]
        first = _look(f"hooks/{stage.value}", single)
        found = [first] if first is not None else []
        now = self._clock()
        if now < self._none_until[stage]:
            return found
        try:
            with os.scandir(folder) as entries:
                files = {e.name: e for e in entries if _RUN_PARTS_NAME.fullmatch(e.name)}
        except (FileNotFoundError, NotADirectoryError):
            self._none_until[stage] = now + NO_FOLDER_FOR_S
            return found
        except OSError as error:
            problem = f"it cannot be listed: {error.strerror}"
            return [*found, HookFile(f"hooks/{folder.name}", str(folder), NOTHING, problem=problem)]
        for name in sorted(files):
            hook = _look(f"hooks/{folder.name}/{name}", files[name])
            if hook is not None:
                found.append(hook)
        return found

    def version(self, hook: HookFile) -> str:
        """First 12 digits of the SHA-256 of the file, "" when it cannot be read; may block."""
        key = (hook.path, hook.signature)
        known = self._versions.get(key)
        if known is not None:
            return known
        if len(self._versions) >= _MAX_VERSIONS:
            self._versions.clear()
        self._versions[key] = version = _hash(hook.path)
        return version

    def known_version(self, hook: HookFile) -> str | None:
        """The same from memory; None: `version` must be asked."""
        return self._versions.get((hook.path, hook.signature))


def _look(name: str, file: Path | os.DirEntry[str]) -> HookFile | None:
    path = os.fspath(file)
    try:
        status = file.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        problem = error.strerror or "it cannot be looked at"
        return HookFile(name, path, NOTHING, problem=problem)
    return hook_file(name, path, status)


def hook_file(name: str, path: str, status: os.stat_result) -> HookFile:
    """The hook of a file that was looked at."""
    is_folder = stat.S_ISDIR(status.st_mode)
    return HookFile(
        name,
        path,
        (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns),
        is_writable_by_others=not is_folder and bool(status.st_mode & stat.S_IWOTH),
        problem="it is a folder" if is_folder else "",
    )


def _hash(path: str) -> str:
    digest = hashlib.sha256()
    left = _MAX_HASHED
    try:
        with Path(path).open("rb") as file:
            while left and (data := file.read(min(left, 1024 * 1024))):
                digest.update(data)
                left -= len(data)
    except OSError:
        return ""
    return digest.hexdigest()[:12]
