"""`relevo config`: the configuration in force."""

from __future__ import annotations

from pathlib import Path

import click

from relevo.cli.command import Group
from relevo.cli.options import config_dir_option, json_option, load_config, set_option
from relevo.config import render_json, render_toml


@click.group(cls=Group)
def config() -> None:
    """Show the configuration in force."""


@config.command(
    examples=(
        "relevo config show",
        "relevo config show -C /etc/chasquid > relevo.toml",
        "relevo config show --json",
    ),
)
@json_option
@config_dir_option
@set_option
def show(as_json: bool, config_dir: Path, overrides: tuple[str, ...]) -> None:
    """Print every key with its value and where that was set.

    The output is a complete relevo.toml, also for a chasquid config directory.
    """
    values = load_config(config_dir, overrides)
    click.echo(render_json(values) if as_json else render_toml(values), nl=False)
