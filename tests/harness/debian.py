"""Programs from Debian packages that tests run: which there are and where they stand.

The list is `scripts/debian_programs.toml`. A program is looked for on PATH and in the sbin folders
first, then among those that `scripts/debian_programs.py` unpacked below `.cache/debian/bin`.
Found means: it ran, and printed what shows that it can do what tests ask of it.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIST = ROOT / "scripts" / "debian_programs.toml"
CACHE = ROOT / ".cache" / "debian"
UNPACKED = CACHE / "bin"
SYSTEM_FOLDERS = (
    *("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"),
    "/usr/lib/postfix/sbin",
    "/usr/lib/postgresql/15/bin",
)
PROBE_TIMEOUT_S = 20


class ProgramMissing(Exception):
    """A program that a test needs is neither installed nor unpacked."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program of a package and what shows that it works."""

    name: str
    package: str
    probe: tuple[str, ...]
    expect: str


@dataclass(frozen=True, slots=True)
class Package:
    """A Debian package, or a part of one, that tests name.

    `debian`: the package's name in Debian. `extra`: packages needed beyond its dependencies.
    `can_be_unpacked`: its programs run from anywhere.
    """

    name: str
    debian: str
    can_be_unpacked: bool
    extra: tuple[str, ...]
    programs: tuple[Program, ...]


@functools.cache
def packages() -> dict[str, Package]:
    """The list, by package name."""
    table = tomllib.loads(LIST.read_text())
    return {
        name: Package(
            name,
            entry.get("package", name),
            not entry.get("only_installed", False),
            tuple(entry.get("with", ())),
            tuple(
                Program(program, name, tuple(rule["probe"]), rule["expect"])
                for program, rule in entry["programs"].items()
            ),
        )
        for name, entry in table.items()
    }


def works(path: Path, program: Program) -> bool:
    """Whether `path`, run with the probe's arguments, prints what is expected."""
    try:
        done = subprocess.run(
            [path, *program.probe],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PROBE_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return bool(re.search(program.expect, done.stdout.decode(errors="replace"), re.MULTILINE))


def candidates(name: str) -> list[Path]:
    """Where a program of that name may stand, best first."""
    folders = [*os.environ.get("PATH", "").split(os.pathsep), *SYSTEM_FOLDERS]
    found = shutil.which(name, path=os.pathsep.join(folders))
    paths = [Path(found)] if found else []
    return [*paths, UNPACKED / name]


@functools.cache
def find(name: str) -> Path | None:
    """The program of that name that works, or None."""
    known = {program.name: program for entry in packages().values() for program in entry.programs}
    if name not in known:
        raise LookupError(f"{name} is not in {LIST.relative_to(ROOT)}")
    return next((path for path in candidates(name) if works(path, known[name])), None)


def missing(package: str) -> list[str]:
    """Names of the programs of a package that are not there."""
    if package not in packages():
        raise LookupError(f"{package} is not in {LIST.relative_to(ROOT)}")
    return [program.name for program in packages()[package].programs if not find(program.name)]


def program(name: str) -> Path:
    """The program's path; raises ProgramMissing. Tests that call it are marked `needs_debian`."""
    path = find(name)
    if path is None:
        raise ProgramMissing(f"{name} is missing; `make programs` tells why")
    return path
