"""Options that several commands share, and the exit codes."""

from __future__ import annotations

from pathlib import Path

import click

EXIT_NO = 1
EXIT_USAGE = 2
EXIT_CONFIG = 3
EXIT_NOT_RUNNING = 4

config_dir_option = click.option(
    "--config-dir",
    "-C",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("/etc/relevo"),
    show_default=True,
    envvar="RELEVO_CONFIG_DIR",
    help="Folder with relevo.toml or chasquid.conf.",
)
set_option = click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    help="Override a configuration key, e.g. --set dns.servers=127.0.0.1:5353. May be repeated.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
