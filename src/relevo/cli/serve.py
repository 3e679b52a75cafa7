"""`relevo serve`: run the server in the foreground."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relevo.cli.options import EXIT_CONFIG, config_dir_option, set_option
from relevo.config import ConfigErrors, load
from relevo.service.supervisor import StartFailed, Supervisor

if TYPE_CHECKING:
    from relevo.config import Config


@click.command()
@config_dir_option
@set_option
def serve(config_dir: Path, overrides: tuple[str, ...]) -> None:
    r"""Run the server in the foreground.

    TERM or Ctrl-C ends it: open transactions may finish within `server.grace`. HUP re-reads
    configuration, users, aliases and certificates, and reopens log files.

    \b
    Examples:
      relevo serve
      relevo serve --config-dir /etc/chasquid
      relevo serve --set listen.smtp=127.0.0.1:2525 --set log.level=debug
    """

    def load_config() -> Config:
        return load(config_dir, overrides)

    try:
        code = Supervisor(load_config).run()
    except (ConfigErrors, StartFailed) as error:
        click.echo(f"relevo: {error}", err=True)
        sys.exit(EXIT_CONFIG)
    sys.exit(code)
