"""`relevo penalty`: sources that are slowed down or refused, and taking that back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from relevo.cli.command import Command, Group
from relevo.cli.options import config_dir_option, json_option, load_config, set_option
from relevo.cli.phrases import count, span
from relevo.service.control import ask


@click.group(cls=Group)
def penalty() -> None:
    """Sources that the running server slows down or refuses.

    A source is an IPv4 address or an IPv6 /64. Failed logins, refused recipients, protocol errors
    and too high rates bring it points, which fade; the table [penalties] of the configuration says
    how many and what follows. Points are forgotten when the server restarts.
    """


@penalty.command(
    "list",
    cls=Command,
    examples=("relevo penalty list", "relevo penalty list --json"),
)
@json_option
@config_dir_option
@set_option
def list_(as_json: bool, config_dir: Path, overrides: tuple[str, ...]) -> None:
    """Sources with points, the refused ones first.

    Exit code 4 when no server is running.
    """
    answer = ask(load_config(config_dir, overrides).data_dir, "penalty list")
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    if not answer["enabled"]:
        click.echo("penalties are off (penalties.enabled)")
    for source in answer["sources"]:
        click.echo(_line(source))
    if answer["more"]:
        click.echo(f"and {count(answer['more'], 'source')} more")
    if not answer["sources"]:
        click.echo("no source has points")


@penalty.command(
    cls=Command,
    examples=("relevo penalty clear 192.0.2.7", "relevo penalty clear"),
)
@click.argument("address", required=False)
@json_option
@config_dir_option
@set_option
def clear(address: str | None, as_json: bool, config_dir: Path, overrides: tuple[str, ...]) -> None:
    """Forget the points of ADDRESS, or of all sources, and serve them again at once.

    An IPv6 address stands for its /64. Exit code 4 when no server is running.
    """
    request = f"penalty clear {address}" if address else "penalty clear"
    answer = ask(load_config(config_dir, overrides).data_dir, request)
    if "error" in answer:
        raise click.BadParameter(answer["error"], param_hint="ADDRESS")
    if as_json:
        click.echo(json.dumps(answer))
    elif address and not answer["cleared"]:
        click.echo(f"{answer['source']} had no points")
    elif address:
        click.echo(f"cleared: {answer['source']}")
    else:
        click.echo(f"cleared: {count(answer['cleared'], 'source')}")


def _line(source: dict[str, Any]) -> str:
    parts = [f"{source['source']}: {source['points']:g} points"]
    if source["refused_seconds"]:
        parts.append(f"refused for {span(source['refused_seconds'])}")
    elif source["delay_seconds"]:
        parts.append(f"answers delayed by {source['delay_seconds']:g} s")
    if source["has_users"]:
        parts.append("users log in from there")
    return ", ".join(parts)
