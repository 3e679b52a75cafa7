"""`relevo queue`: waiting messages, seen and changed by hand."""

from __future__ import annotations

import json
import sys
import time
from itertools import islice
from pathlib import Path
from typing import NoReturn

import click

from relevo.cli import queue_text
from relevo.cli.command import Group
from relevo.cli.options import EXIT_NO, config_dir_option, json_option, load_config, set_option
from relevo.cli.phrases import count
from relevo.cli.queue_acts import drop, hold, release, retry
from relevo.cli.queue_choice import Choice, choosing
from relevo.cli.queue_files import export_messages, import_messages, repair
from relevo.cli.queue_outlook import simulate, summary
from relevo.queue import QueueReader, open_reader
from relevo.queue.store import Summary


@click.group(cls=Group)
def queue() -> None:
    """Look at waiting messages, retry, hold or drop them, with and without a running server."""


@queue.command(
    "list",
    examples=(
        "relevo queue list",
        "relevo queue list --older-than 2h --error 'connection refused'",
        "relevo queue list --recipient ada@example.org --json",
    ),
)
@choosing
@click.option(
    "--limit", type=click.IntRange(min=1), default=1000, show_default=True, metavar="NUMBER",
    help="Messages to list at most.",
)  # fmt: skip
@json_option
@config_dir_option
@set_option
def list_messages(
    choice: Choice, limit: int, as_json: bool, config_dir: Path, overrides: tuple[str, ...]
) -> None:
    """List waiting messages, oldest first: id, age, size, sender, recipients."""
    with open_reader(load_config(config_dir, overrides).data_dir) as reader:
        each = choice.each(reader)
        found = list(islice(each, limit))
        has_more = next(each, None) is not None
    if as_json:
        entries = [queue_text.as_plain(one) for one in found]
        click.echo(json.dumps(entries, indent=2, ensure_ascii=False))
    else:
        now = time.time()
        for one in found:
            click.echo("\n".join(queue_text.lines(one, now)))
    if has_more:
        click.echo(f"the first {limit} messages; --limit shows more of them", err=True)
    elif not as_json:
        click.echo(f"{count(len(found), 'message')}", err=True)


@queue.command(
    examples=(
        "relevo queue show 1m87pd87mcf62yrr1xxx",
        "relevo queue show --content 1m87pd87mcf62yrr1xxx | less",
    ),
)
@click.argument("identity", metavar="ID")
@click.option("--content", is_flag=True, help="Print the message itself, as it is stored.")
@json_option
@config_dir_option
@set_option
def show(
    identity: str, content: bool, as_json: bool, config_dir: Path, overrides: tuple[str, ...]
) -> None:
    """Show a waiting message: envelope, recipients, last errors. Exit code 1 if there is none."""
    with open_reader(load_config(config_dir, overrides).data_dir) as reader:
        found = reader.message(identity.lower())
        if found is not None and found.envelope.quarantine is not None:
            _refuse(f"{identity} is in quarantine: see `relevo quarantine show {identity}`")
        if found is None:
            _refuse(f"{identity} is not in the queue; `relevo trace {identity}` tells its past")
        if content:
            _print_content(reader, found)
        elif as_json:
            entry = queue_text.as_plain(found)
            click.echo(json.dumps(entry, indent=2, ensure_ascii=False))
        else:
            click.echo("\n".join(queue_text.details(found, time.time())))


def _refuse(text: str) -> NoReturn:
    click.echo(f"relevo: {text}", err=True)
    sys.exit(EXIT_NO)


def _print_content(reader: QueueReader, summary: Summary) -> None:
    content = reader.content(summary.id)
    if content is None:
        _refuse(f"{summary.id} is no longer in the queue")
    for chunk in content.chunks():
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


for command in (
    retry,
    hold,
    release,
    drop,
    summary,
    simulate,
    export_messages,
    import_messages,
    repair,
):
    queue.add_command(command)
