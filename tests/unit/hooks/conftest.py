"""A real host with launchers, and a config directory with hooks in it.

Tests here may be coroutine functions; each runs in a loop of its own.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from relevo.config import Config, load
from relevo.hooks.host import PoolSockets, start_host
from relevo.hooks.settings import pool_settings

TOKEN_NAME = "RELEVO_HOOK_TOKEN"


@dataclass
class Site:
    """A config directory; every hook exports a token of the test's, so that strays are found."""

    path: Path
    config: Config
    sockets: PoolSockets
    pid: int
    control: socket.socket
    token: str

    def write(self, name: str, text: str, *, mode: int = 0o755) -> Path:
        """A hook in shell: `post-data`, `post-data.d/10-a`."""
        path = self.path / "hooks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path / "fresh"
        fresh.write_text(f"#!/bin/sh\nexport {TOKEN_NAME}={self.token}\n{text}\n")
        fresh.chmod(mode)
        fresh.rename(path)
        return path

    def set(self, **values: Any) -> Config:
        """Change keys of [hooks]; for whoever is made from the configuration afterwards."""
        self.config = replace(self.config, hooks=replace(self.config.hooks, **values))
        return self.config

    def strays(self) -> list[int]:
        return processes_with(f"{TOKEN_NAME}={self.token}")


def processes_with(entry: str) -> list[int]:
    """Living processes, zombies left out, with this in their environment."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            if entry.encode() not in (folder / "environ").read_bytes().split(b"\0"):
                continue
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z":
            found.append(int(folder.name))
    return found


MakeSite = Callable[..., Site]


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[MakeSite]:
    """Makes the site with the text of a relevo.toml; the host ends with the test."""
    made: list[Site] = []

    def make(toml: str = "") -> Site:
        path = tmp_path / "conf"
        (path / "hooks").mkdir(parents=True)
        (path / "relevo.toml").write_text(f'hostname = "mx.test"\n{toml}')
        config = load(path)
        sockets = PoolSockets.make()
        pid, control = start_host(sockets, pool_settings(config))
        made.append(Site(path, config, sockets, pid, control, uuid.uuid4().hex))
        return made[-1]

    yield make
    for each in made:
        each.control.close()
        assert os.waitstatus_to_exitcode(os.waitpid(each.pid, 0)[1]) == 0
        each.sockets.close()
        assert each.strays() == []


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    return make_site()
