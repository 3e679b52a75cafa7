"""`relevo serve`: run the server in the foreground."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

import click

from relevo.cli.command import Command
from relevo.cli.options import config_dir_option, load_config, set_option
from relevo.service.handover import Handover
from relevo.service.rehearsal import OPTION, rehearse
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
@click.option(
    OPTION,
    "is_dry_run",
    is_flag=True,
    help="Check all that a start needs, open the listeners, and end; no data is touched.",
)
def serve(config_dir: Path, overrides: tuple[str, ...], is_dry_run: bool) -> None:
    """Run the server in the foreground.

    TERM or Ctrl-C ends it: open transactions may finish within `server.grace`. HUP re-reads
    configuration, users, aliases and certificates, and reopens log files. USR2 restarts the server
    as `relevo restart` does.
    """
    handover = Handover.take(os.environ)  # before anything else is started
    load = partial(load_config, config_dir, overrides)
    if is_dry_run:
        rehearse(load(), handover)
        return
    sys.exit(Supervisor(load, command=sys.orig_argv, handover=handover).run())
