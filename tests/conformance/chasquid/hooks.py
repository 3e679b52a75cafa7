"""Hooks of a config directory: real executables, and what they were called with.

A hook is put in place by a rename, so that no call finds half of one. `recorder` is shell text
that keeps a call: its arguments, environment as the kernel has it, working directory and stdin.
"""

from __future__ import annotations

import os
import shlex
import time
from dataclasses import dataclass
from pathlib import Path

BELIEVED_S = 0.03  # relevo believes for 20 ms that there is no hook


@dataclass(frozen=True, slots=True)
class Call:
    """One recorded call."""

    arguments: tuple[str, ...]
    environment: dict[str, bytes]
    directory: str
    stdin: bytes


class Hooks:
    """The `hooks` folder of a config directory and the records of its hooks."""

    def __init__(self, config_dir: Path) -> None:
        self.config_dir = config_dir
        self.folder = config_dir / "hooks"
        self.folder.mkdir(exist_ok=True)
        self._records = config_dir.parent / "calls"
        self._records.mkdir(exist_ok=True)

    def path(self, stage: str) -> Path:
        return self.folder / stage

    def write(self, stage: str, text: str, *, mode: int = 0o755, shell: bool = True) -> None:
        """Put a hook in place; `shell` puts `#!/bin/sh` above the text."""
        self.remove(stage)
        fresh = self.config_dir / f".{stage}.new"
        fresh.write_text(f"#!/bin/sh\n{text}\n" if shell else text)
        fresh.chmod(mode)
        fresh.rename(self.path(stage))
        time.sleep(BELIEVED_S)

    def remove(self, stage: str) -> None:
        path = self.path(stage)
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)

    def clear(self) -> None:
        """No hooks, no records."""
        for path in list(self.folder.iterdir()):
            self.remove(path.name)
        for path in list(self._records.iterdir()):
            for file in path.iterdir():
                file.unlink()
            path.rmdir()

    @property
    def recorder(self) -> str:
        """Shell text that records the call; it reads stdin to its end."""
        records = shlex.quote(str(self._records))
        return (
            f"record=$(mktemp -d {records}/.XXXXXXXXXX)\n"
            'cat "/proc/$$/environ" > "$record/environment"\n'
            'for argument in "$@"; do printf \'%s\\0\' "$argument"; done > "$record/arguments"\n'
            'readlink "/proc/$$/cwd" > "$record/directory"\n'
            'cat > "$record/stdin"\n'
            f'mv "$record" {records}/"$(date +%s%N)-$$"\n'
        )

    def calls(self) -> list[Call]:
        """All that were recorded, oldest first."""
        folders = sorted(p for p in self._records.iterdir() if not p.name.startswith("."))
        return [_read(folder) for folder in folders]

    @property
    def note(self) -> Path:
        """A file beside the config directory that a hook may write to."""
        return self.config_dir.parent / "note"


def _read(folder: Path) -> Call:
    pairs = (
        os.fsdecode(item).partition("=")
        for item in (folder / "environment").read_bytes().split(b"\0")
        if item
    )
    return Call(
        arguments=tuple((folder / "arguments").read_text().split("\0")[:-1]),
        environment={name: os.fsencode(value) for name, _, value in pairs},
        directory=(folder / "directory").read_text().rstrip("\n"),
        stdin=(folder / "stdin").read_bytes(),
    )


def processes_with(token: str) -> list[int]:
    """Living processes with the token in their environment or command line."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            seen = (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes()
            state = (folder / "stat").read_bytes().rpartition(b")")[2].split()[0]
        except OSError:
            continue
        if token.encode() in seen and state != b"Z":
            found.append(int(folder.name))
    return found
