"""`relevo serve`: run the server in the foreground."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import click

from relevo.cli.command import Command
from relevo.cli.options import config_dir_option, load_config, set_option
from relevo.service.supervisor import Supervisor


@click.command(
    cls=Command,
    examples=(
        "relevo serve",
        "relevo serve --config-dir /etc/chasquid",
        "relevo serve --set listen.smtp=127.0.0.1:2525 --set log.level=debug",
    ),
)
@config_dir_option
@set_option
def serve(config_dir: Path, overrides: tuple[str, ...]) -> None:
    """Run the server in the foreground.

    TERM or Ctrl-C ends it: open transactions may finish within `server.grace`. HUP re-reads
    configuration, users, aliases and certificates, and reopens log files.
    """
    sys.exit(Supervisor(partial(load_config, config_dir, overrides)).run())
