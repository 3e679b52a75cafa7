"""`relevo reload`: the running server re-reads its files, or says why it does not."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from relevo.cli.command import Command
from relevo.cli.options import EXIT_CONFIG, config_dir_option, load_config, set_option
from relevo.service.control import ask


@click.command(
    cls=Command,
    examples=(
        "relevo reload",
        "relevo reload --config-dir /etc/chasquid",
    ),
)
@config_dir_option
@set_option
def reload(config_dir: Path, overrides: tuple[str, ...]) -> None:
    """Let the running server re-read configuration, users, aliases and certificates.

    All of it is checked first. When anything is wrong nothing changes, the problems are printed,
    and the exit code is 3. Keys that were changed and need a restart are named. Exit code 4 when no
    server is running.
    """
    answer = ask(load_config(config_dir, overrides).data_dir, "reload")
    problems = answer["problems"]
    if problems:
        click.echo("relevo: reload refused, everything stays as it was:", err=True)
        for problem in problems:
            click.echo(f"  {problem}", err=True)
        sys.exit(EXIT_CONFIG)
    click.echo("reloaded")
    if keys := answer.get("restart_needed"):
        click.echo(f"a restart is needed for {', '.join(keys)}")
