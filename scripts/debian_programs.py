"""Provides the Debian programs that system tests run (list: debian_programs.toml).

What already works is left alone. Else the packages, and those they need that are not installed, are
downloaded and unpacked below .cache/debian, with a small script for each program in
.cache/debian/bin. A program that does not run so is installed by apt, but only for root, when CI is
set or RELEVO_INSTALL=yes, when apt's simulation removes nothing, and with no service started.

Always exits 0: what is missing is told by the tests that need it. `--strict` exits 1 instead.
"""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from harness import debian

APT_STATE = debian.CACHE / "apt"
UNPACK_ROOT = debian.CACHE / "root"
POLICY = Path("/usr/sbin/policy-rc.d")
# the C library must stay the machine's own: its loader and its parts belong together
NEVER_UNPACKED = ("libc6", "libc-bin", "libc6-dev", "libcrypt1")
NETWORK_TIMEOUT_S = 300


class ProvisionFailed(Exception):
    """A step could not be done; its text is for the person at the terminal."""


def say(text: str) -> None:
    """Progress, on the terminal."""
    print(f"programs: {text}", file=sys.stderr, flush=True)


def run(*command: str, cwd: Path | None = None) -> str:
    """Standard output of a command; raises ProvisionFailed with its errors."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=NETWORK_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProvisionFailed(f"{command[0]}: {error}") from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise ProvisionFailed(f"`{shlex.join(command[:3])} …`: {lines[-1] if lines else 'failed'}")
    return done.stdout


class Apt:
    """apt-get with package lists of our own, so that it needs no root."""

    def __init__(self) -> None:
        for folder in ("lists/partial", "archives/partial"):
            (APT_STATE / folder).mkdir(parents=True, exist_ok=True)
        self._options = [
            f"-oDir::State::lists={APT_STATE / 'lists'}",
            f"-oDir::Cache={APT_STATE}",
            f"-oAPT::Sandbox::User={'root' if os.geteuid() == 0 else ''}",
            "-oAPT::Install-Recommends=false",
            "-oDebug::NoLocking=true",
        ]
        self._is_fresh = False

    def __call__(self, *arguments: str, cwd: Path | None = None) -> str:
        if not self._is_fresh:
            say("reading Debian's package lists")
            run("apt-get", *self._options, "-qq", "update")
            self._is_fresh = True
        return run("apt-get", *self._options, *arguments, cwd=cwd)

    def needed(self, names: list[str]) -> list[str]:
        """The packages to unpack for `names`: they, and what they need that is not installed."""
        plan = self("-s", "install", *names)
        new = re.findall(r"^Inst (\S+) (?!\[)", plan, re.MULTILINE)
        return sorted({*names, *new} - set(NEVER_UNPACKED))


def unpack(apt: Apt, package: debian.Package) -> None:
    """Download and unpack a package with what it needs, and write scripts that run its programs."""
    archives = APT_STATE / "unpacked" / package.name
    shutil.rmtree(archives, ignore_errors=True)
    archives.mkdir(parents=True)
    names = apt.needed([package.debian, *package.extra])
    say(f"unpacking {' '.join(names)}")
    apt("-qq", "download", *names, cwd=archives)
    root = UNPACK_ROOT / package.name
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    for archive in sorted(archives.glob("*.deb")):
        run("dpkg-deb", "-x", str(archive), str(root))
    shutil.rmtree(archives)
    for program in package.programs:
        write_launcher(root, program.name)


def write_launcher(root: Path, name: str) -> None:
    """A script in .cache/debian/bin that runs an unpacked program with its own libraries."""
    folders = ("usr/sbin", "usr/bin", "sbin", "bin", "usr/lib/postgresql/15/bin")
    target = next((root / f / name for f in folders if (root / f / name).exists()), None)
    if target is None:
        raise ProvisionFailed(f"{name} is not in the package")
    libraries = sorted({str(path.parent) for path in root.rglob("*.so*") if path.is_file()})
    perl = [
        str(path)
        for pattern in (
            "usr/share/perl5",
            "usr/share/perl/5*",
            "usr/lib/*/perl5/5*",
            "usr/lib/*/perl/5*",
        )
        for path in sorted(root.glob(pattern))
        if path.is_dir()
    ]
    lines = ["#!/bin/sh"]
    if libraries:
        value = ":".join(libraries)
        lines.append(f'export LD_LIBRARY_PATH="{value}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"')
    if perl:
        lines.append(f'export PERL5LIB="{":".join(perl)}${{PERL5LIB:+:$PERL5LIB}}"')
    command = [str(target)]
    if target.read_bytes()[:18] == b"#!/usr/bin/perl -T":  # it does not look at PERL5LIB
        command = ["perl", "-T", *(f"-I{path}" for path in perl), *command]
    lines.append(f'exec {shlex.join(command)} "$@"')
    debian.UNPACKED.mkdir(parents=True, exist_ok=True)
    launcher = debian.UNPACKED / name
    launcher.write_text("\n".join(lines) + "\n")
    launcher.chmod(0o755)


def may_install() -> bool:
    """Whether the machine itself may be changed."""
    allowed = bool(os.environ.get("CI")) or os.environ.get("RELEVO_INSTALL") == "yes"
    return allowed and os.geteuid() == 0


@contextmanager
def no_services() -> Iterator[None]:
    """While packages are installed, no service of theirs starts: invoke-rc.d asks this file."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


def install(package: debian.Package) -> None:
    """Install a package by apt. Raises ProvisionFailed when that would remove another."""
    names = [package.debian, *package.extra]
    options = ["install", "-y", "--no-install-recommends"]
    with suppress(ProvisionFailed):  # old lists may still do
        run("apt-get", "-qq", "update")
    removed = re.findall(r"^Remv (\S+)", run("apt-get", "-s", *options, *names), re.MULTILINE)
    if removed:
        raise ProvisionFailed(f"installing would remove {' '.join(removed)}")
    say(f"installing {' '.join(names)}")
    with no_services():
        run("apt-get", *options, *names)


def provide(package: debian.Package, apt: Apt) -> list[str]:
    """Try each way until the programs of a package work; why each way did not, else."""
    reasons = []
    ways: list[tuple[str, Callable[[], None]]] = []
    if package.can_be_unpacked:
        ways.append(("unpack", lambda: unpack(apt, package)))
    if may_install():
        ways.append(("install", lambda: install(package)))
    if not ways:
        return [f"only root can install it: apt install {package.debian}"]
    for name, way in ways:
        try:
            way()
        except ProvisionFailed as error:
            reasons.append(f"{name}: {error}")
            continue
        debian.find.cache_clear()
        broken = debian.missing(package.name)
        if not broken:
            return []
        reasons.append(f"{name}: {' '.join(broken)} did not run")
    return reasons


def provide_all() -> bool:
    """Whether all programs are there in the end."""
    wanting = [entry for entry in debian.packages().values() if debian.missing(entry.name)]
    if not wanting:
        return True
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        names = " ".join(dict.fromkeys(entry.debian for entry in wanting))
        say(f"missing, and this is no Debian; install them by hand: {names}")
        return False
    debian.CACHE.mkdir(parents=True, exist_ok=True)
    with (debian.CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        debian.find.cache_clear()
        apt = Apt()
        complete = True
        for package in wanting:
            if not debian.missing(package.name):
                continue  # another run provided it while we waited for the lock
            for reason in provide(package, apt):
                complete = False
                say(f"{package.name}: {reason}")
    return complete


if __name__ == "__main__":
    sys.exit(0 if provide_all() or "--strict" not in sys.argv else 1)
