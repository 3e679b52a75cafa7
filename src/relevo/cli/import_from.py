"""`relevo import`: take over what another mail server left."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import click

from relevo.cli.command import Group
from relevo.cli.options import EXIT_NO, config_dir_option, json_option, load_config, set_option
from relevo.cli.phrases import count, octets, span
from relevo.cli.running_server import make_queue, wake
from relevo.config import Config
from relevo.directory import DirectoryWatcher
from relevo.service.takeover import Takeover, examine, take_over
from relevo.service.takeover.conversion import Site


@click.group("import", cls=Group)
def import_from() -> None:
    """Take over what another server left."""


@import_from.command(
    examples=(
        "relevo import chasquid /var/lib/chasquid",
        "relevo import chasquid --apply /var/lib/chasquid",
    ),
)
@click.argument(
    "directory", metavar="DIR", type=click.Path(path_type=Path, exists=True, file_okay=False)
)
@click.option("--apply", is_flag=True, help="Do it; without this it is only said what would be.")
@json_option
@config_dir_option
@set_option
def chasquid(
    directory: Path, apply: bool, as_json: bool, config_dir: Path, overrides: tuple[str, ...]
) -> None:
    """Take over waiting mail and TLS security levels from chasquid's data directory DIR.

    chasquid must be stopped; relevo may run. Originals are moved to DIR/chasquid-backup-TIME once
    all is taken over. `relevo serve` does the same by itself when DIR is its own data directory.
    Exit code 1 when a file cannot be read; such files stay where they are.
    """
    config = load_config(config_dir, overrides)
    site = Site(config, DirectoryWatcher(config).current)
    if apply:
        make_queue(config)
        found = take_over(directory, site, now=time.time())
        wake(config.data_dir)
    else:
        found = examine(directory, site, now=time.time())
    if as_json:
        click.echo(json.dumps(_plain(found), indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(_lines(found, config, is_applied=apply)))
    for problem in found.problems:
        click.echo(f"relevo: {problem}", err=True)
    if found.problems:
        sys.exit(EXIT_NO)


def _lines(found: Takeover, config: Config, *, is_applied: bool) -> list[str]:
    now = time.time()
    lines = [
        f"{item.item_id}  {span(now - item.created)}  {octets(item.size)}  {item.reverse_path}  "
        f"{count(item.waiting, 'recipient')} waiting"
        f"{''.join(f'  {identity}' for identity in item.messages)}"
        for item in found.items
    ]
    what = f"{count(len(found.items), 'message')}, {count(len(found.level_files), 'domain')}"
    if not is_applied:
        return [*lines, f"{what} to take over into {config.data_dir}; nothing was changed"]
    if found.known:
        lines.append(f"taken over before, and left as they are: {', '.join(sorted(found.known))}")
    lines.append(f"{what} taken over into {config.data_dir}")
    if found.moved_to is not None:
        lines.append(f"the originals are in {found.moved_to}")
    return lines


def _plain(found: Takeover) -> dict[str, object]:
    return {
        "items": [
            {
                "path": str(item.path),
                "id": item.item_id,
                "created": item.created,
                "reverse_path": item.reverse_path,
                "size": item.size,
                "waiting": item.waiting,
                "messages": list(item.messages),
            }
            for item in found.items
        ],
        "domains": [
            {"name": one.name, "incoming": one.incoming, "outgoing": one.outgoing}
            for one in found.domains
        ],
        "known": sorted(found.known),
        "problems": found.problems,
        "moved_to": None if found.moved_to is None else str(found.moved_to),
    }
