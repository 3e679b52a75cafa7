"""`relevo restart`: the running server goes on as the program and configuration on disk."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from relevo.cli.command import Command
from relevo.cli.options import EXIT_CONFIG, config_dir_option, load_config, set_option
from relevo.service.control import NotRunning, ask

_LOOK_AGAIN_S = 0.1


@click.command(
    cls=Command,
    examples=(
        "relevo restart",
        "relevo restart --config-dir /etc/chasquid --wait 120",
    ),
)
@click.option(
    "--wait",
    "patience",
    type=click.IntRange(1, 86400),
    default=90,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait until the server serves again.",
)
@config_dir_option
@set_option
def restart(patience: int, config_dir: Path, overrides: tuple[str, ...]) -> None:
    """Restart the running server without refusing a connection.

    For a new version, and for keys that a reload cannot take up. A start is tried first; when it
    fails, nothing changes, the problems are printed, and the exit code is 3. Then open transactions
    may finish within `server.grace`. Clients that connect meanwhile wait, and are served after it.
    Exit code 4 when no server is running.
    """
    data_dir = load_config(config_dir, overrides).data_dir
    answer = ask(data_dir, "restart")
    _refuse(answer["problems"])
    before = answer["started"]
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        status = _status(data_dir)
        if status.get("started", before) != before:
            if all(worker["ready"] for worker in status["workers"]):
                click.echo(f"restarted: relevo {status['version']}, process {status['pid']}")
                return
        else:
            _refuse(status.get("restart_problems", ()))
        time.sleep(_LOOK_AGAIN_S)
    click.echo(f"relevo: not back after {patience} s; see the log", err=True)
    sys.exit(EXIT_CONFIG)


def _status(data_dir: Path) -> dict[str, Any]:
    """Of the server; empty while it is busy becoming the next one."""
    try:
        return ask(data_dir, "status")
    except NotRunning:
        return {}


def _refuse(problems: list[str]) -> None:
    if problems:
        click.echo("relevo: restart refused, everything stays as it was:", err=True)
        for problem in problems:
            click.echo(f"  {problem}", err=True)
        sys.exit(EXIT_CONFIG)
