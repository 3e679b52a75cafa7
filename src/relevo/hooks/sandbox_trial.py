"""Whether this machine gives the sandboxes that a configuration wants, found out by trying."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from relevo.hooks.sandbox import Sandbox, SandboxUnavailable, enter
from relevo.hooks.settings import pool_settings

if TYPE_CHECKING:
    from relevo.config import Config


def check_sandboxes(config: Config) -> None:
    """Before a server starts or takes another configuration. Raises SandboxUnavailable, OSError.

    Each kind is tried once, in a child of the calling process, which has one thread.
    """
    wanted = {each.sandbox for each in pool_settings(config)} - {None}
    for sandbox in wanted:
        assert sandbox is not None
        if why := why_not(sandbox):
            raise SandboxUnavailable(
                f"hooks cannot be put into a sandbox here: {why}. Without it they run with "
                f"`hooks.sandbox = false` and no `sandbox` of their own"
            )


def why_not(sandbox: Sandbox) -> str:
    """What this machine lacks for it, "" for nothing. Raises OSError."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            enter(sandbox)
        except BaseException as error:  # noqa: BLE001 - the end of this process
            os.write(writer, str(error).encode() or b"it fails")
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as said:
        text = said.read(4096).decode("utf-8", "replace")
    os.waitpid(pid, 0)
    return text
