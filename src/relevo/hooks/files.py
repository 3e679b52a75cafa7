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
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from relevo.hooks.contract import Stage

_RUN_PARTS_NAME = re.compile(r"[A-Za-z0-9_-]+")
_MAX_HASHED = 16 * 1024 * 1024  # octets of a program that its version is made of
_MAX_VERSIONS = 256

Signature = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class HookFile:
    """A hook that stands in the config directory; `signature` differs once the file does."""

    name: str  # relative to the config directory: "hooks/post-data"
    path: str
    signature: Signature
    is_writable_by_others: bool = False
    problem: str = ""  # why it cannot even be looked at


class HookFolder:
    """The `hooks` folder of a config directory."""

    def __init__(self, config_dir: Path) -> None:
        self._directory = f"{config_dir}/hooks"
        self._versions: dict[tuple[str, Signature], str] = {}

    def find(self, stage: Stage) -> list[HookFile]:
        """The hooks of a stage in the order of their calls; two system calls when there is none."""
        found = []
        first = self._look(stage.value)
        if first is not None:
            found.append(first)
        folder = f"{stage.value}.d"
        try:
            names = os.listdir(f"{self._directory}/{folder}")
        except (FileNotFoundError, NotADirectoryError):
            return found
        except OSError as error:
            problem = f"cannot be listed: {error.strerror}"
            path = f"{self._directory}/{folder}"
            return [*found, HookFile(f"hooks/{folder}", path, (0, 0, 0, 0, 0), problem=problem)]
        for name in sorted(names):
            if _RUN_PARTS_NAME.fullmatch(name):
                hook = self._look(f"{folder}/{name}")
                if hook is not None:
                    found.append(hook)
        return found

    def _look(self, name: str) -> HookFile | None:
        path = f"{self._directory}/{name}"
        try:
            status = os.stat(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            problem = error.strerror or "it cannot be looked at"
            return HookFile(f"hooks/{name}", path, (0, 0, 0, 0, 0), problem=problem)
        return hook_file(f"hooks/{name}", path, status)

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
        with open(path, "rb") as file:  # noqa: PTH123 - a path text, as the system calls take it
            while left and (data := file.read(min(left, 1024 * 1024))):
                digest.update(data)
                left -= len(data)
    except OSError:
        return ""
    return digest.hexdigest()[:12]
