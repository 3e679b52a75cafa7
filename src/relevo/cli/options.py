"""Options that several commands share, the exit codes, and loading what `-C` names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from relevo.config import Config

EXIT_NO = 1
EXIT_USAGE = 2
EXIT_CONFIG = 3
EXIT_NOT_RUNNING = 4
EXIT_FAULT = 70  # EX_SOFTWARE of sysexits.h

config_dir_option = click.option(
    "--config-dir",
    "-C",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("/etc/relevo"),
    show_default=True,
    envvar="RELEVO_CONFIG_DIR",
    show_envvar=True,
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


def load_config(config_dir: Path, overrides: tuple[str, ...]) -> Config:
    """The configuration that the options name. Raises ConfigErrors."""
    from relevo.config import load  # noqa: PLC0415 - `--help` does without

    return load(config_dir, overrides)
