"""`relevo quarantine`: messages that were set aside, seen, released and dropped."""

from __future__ import annotations

import json
import sys
import time
from itertools import islice
from pathlib import Path
from typing import NoReturn

import click

from relevo.cli import quarantine_text, queue_text
from relevo.cli.command import Group
from relevo.cli.options import EXIT_NO, config_dir_option, json_option, load_config, set_option
from relevo.cli.phrases import count
from relevo.cli.quarantine_choice import Chosen, acting, choosing, exporting
from relevo.cli.queue_files import write_all
from relevo.cli.running_server import wake
from relevo.queue import MessageFilter, QueueReader, open_reader
from relevo.queue.quarantine import DROPPED
from relevo.queue.store import Summary


@click.group(cls=Group)
def quarantine() -> None:
    """Look at messages that a hook or a policy set aside; release or drop them.

    They were accepted and are not delivered until somebody decides; `quarantine.keep` says when
    they are dropped. Works with and without a running server.
    """


@quarantine.command(
    "list",
    examples=(
        "relevo quarantine list",
        "relevo quarantine list --hook spam --older-than 1d",
        "relevo quarantine list --recipient ada@example.org --json",
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
    wanted: MessageFilter, limit: int, as_json: bool, config_dir: Path, overrides: tuple[str, ...]
) -> None:
    """List messages in quarantine, oldest first: id, age, size, sender, recipients, why."""
    with open_reader(load_config(config_dir, overrides).data_dir) as reader:
        each = reader.messages(wanted)
        found = list(islice(each, limit))
        has_more = next(each, None) is not None
    if as_json:
        entries = [quarantine_text.as_plain(one) for one in found]
        click.echo(json.dumps(entries, indent=2, ensure_ascii=False))
    else:
        now = time.time()
        for one in found:
            click.echo("\n".join(quarantine_text.lines(one, now)))
    if has_more:
        click.echo(f"the first {limit} messages; --limit shows more of them", err=True)
    elif not as_json:
        click.echo(f"{count(len(found), 'message')} in quarantine", err=True)


@quarantine.command(
    examples=(
        "relevo quarantine show 1m87pd87mcf62yrr1xxx",
        "relevo quarantine show --content 1m87pd87mcf62yrr1xxx | less",
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
    """Show a message in quarantine: envelope, why it is there. Exit code 1 if there is none."""
    with open_reader(load_config(config_dir, overrides).data_dir) as reader:
        found = reader.message(identity.lower())
        if found is None or found.envelope.quarantine is None:
            _refuse(f"{identity} is not in quarantine; `relevo trace {identity}` tells its past")
        if content:
            _print_content(reader, found)
        elif as_json:
            entry = quarantine_text.as_plain(found)
            click.echo(json.dumps(entry, indent=2, ensure_ascii=False))
        else:
            click.echo("\n".join(quarantine_text.details(found, time.time())))


@quarantine.command(
    examples=(
        "relevo quarantine release 1m87pd87mcf62yrr1xxx",
        "relevo quarantine release --sender ada@example.org --dry-run",
        "relevo quarantine release --hook spam --younger-than 1h",
    ),
)
@acting
def release(chosen: Chosen, dry_run: bool, as_json: bool) -> None:
    """Let messages go on where they were set aside.

    The running server (or the next one) asks the hooks that had not seen them, expands their
    recipients by the aliases of now, and delivers them.
    """
    number = 0
    with chosen.reader as reader:
        found = chosen.find(reader)
        if not dry_run:
            number = reader.release_from_quarantine([one.id for one in found])
    if not dry_run:
        wake(chosen.data_dir)
    _tell(found, number, "released", dry_run=dry_run, as_json=as_json)


@quarantine.command(
    examples=(
        "relevo quarantine drop 1m87pd87mcf62yrr1xxx",
        "relevo quarantine drop --hook spam --older-than 7d --dry-run",
        "relevo quarantine drop --reason EICAR --yes",
    ),
)
@acting
@click.option("--yes", is_flag=True, help="Do not ask.")
def drop(chosen: Chosen, dry_run: bool, as_json: bool, *, yes: bool) -> None:
    """Remove messages for good; neither sender nor recipients are told. The history says so.

    Shows them and asks first.
    """
    number = 0
    with chosen.reader as reader:
        found = chosen.find(reader)
        if not dry_run:
            if not yes:
                _list(found, "to be dropped", err=as_json)
                click.confirm("Drop for good?", abort=True, err=True)
            number = reader.drop([one.id for one in found], DROPPED)
    _tell(found, number, "dropped", dry_run=dry_run, as_json=as_json)


@quarantine.command(
    "export",
    examples=(
        "relevo quarantine export 1m87pd87mcf62yrr1xxx /tmp/mail",
        "relevo quarantine export --all /srv/backup/quarantine",
    ),
)
@exporting
def export_messages(chosen: Chosen, folder: Path) -> None:
    """Write messages into DIR, as `queue export` does; `queue import` brings them back.

    They stay in quarantine. Exit code 3 when a message is damaged.
    """
    with chosen.reader as reader:
        write_all(reader, chosen.find(reader), folder)


def _tell(found: list[Summary], number: int, done: str, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        entry = {"dry_run": dry_run, "changed": number, "messages": [one.id for one in found]}
        click.echo(json.dumps(entry, indent=2))
    elif dry_run:
        _list(found, f"would be {done}")
    else:
        click.echo(f"{count(number, 'message')} {done}")


def _list(found: list[Summary], what: str, *, err: bool = False) -> None:
    now = time.time()
    for one in found:
        click.echo(queue_text.one_line(one, now), err=err)
    click.echo(f"{count(len(found), 'message')} {what}", err=err)


def _refuse(text: str) -> NoReturn:
    click.echo(f"relevo: {text}", err=True)
    sys.exit(EXIT_NO)


def _print_content(reader: QueueReader, summary: Summary) -> None:
    content = reader.content(summary.id)
    if content is None:
        _refuse(f"{summary.id} is no longer in quarantine")
    for chunk in content.chunks():
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()
