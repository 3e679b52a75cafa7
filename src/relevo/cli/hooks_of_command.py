"""Alias hooks for a command that resolves addresses as the server does."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from relevo.config import Config
from relevo.hooks.alias_hooks import ProgramAliasHooks
from relevo.hooks.alone import own_host
from relevo.hooks.caller import Caller
from relevo.hooks.contract import Stage
from relevo.hooks.programs import Programs


@contextlib.contextmanager
def alias_hooks(config: Config) -> Iterator[ProgramAliasHooks | None]:
    """The alias hooks, with a host of our own below them; None where there are none."""
    programs = Programs(config)
    if not programs.of(Stage.ALIAS_RESOLVE) and not programs.of(Stage.ALIAS_EXISTS):
        yield None
        return
    with own_host(config) as sockets:
        yield ProgramAliasHooks(Caller(config, sockets))
