"""`relevo queue export`, `import` and `repair`: the queue as files."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from pathlib import Path

import click

from relevo.cli.command import Command
from relevo.cli.options import EXIT_CONFIG, EXIT_NO, config_dir_option, load_config, set_option
from relevo.cli.phrases import count
from relevo.cli.queue_choice import Choice, choosing
from relevo.cli.running_server import kept_away, make_queue, wake
from relevo.delivery.routing import LOCAL, MX, PIPE, VIA, route_kind
from relevo.queue import ContentUnreadable, QueueReader, open_reader
from relevo.queue.disk import Disk
from relevo.queue.loading import Loaded, Loader, SavedMessage
from relevo.queue.quarantine import ROUTE as QUARANTINE
from relevo.queue.repair import Repaired
from relevo.queue.repair import repair as repair_queue
from relevo.queue.store import Summary
from relevo.queue.transfer import NotAMessage, find_messages, read_message, write_message

_MOST_NAMED = 20  # ids in one sentence

folder_option = click.Path(path_type=Path, file_okay=False)


@click.command(
    "export",
    cls=Command,
    examples=(
        "relevo queue export 1m87pd87mcf62yrr1xxx /tmp/mail",
        "relevo queue export --recipient ada@example.org /tmp/mail",
        "relevo queue export --all /srv/backup/queue",
    ),
)
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.argument("folder", metavar="DIR", type=folder_option)
@click.option("--all", "everything", is_flag=True, help="All waiting messages.")
@choosing
@config_dir_option
@set_option
def export_messages(
    choice: Choice,
    folder: Path,
    everything: bool,
    config_dir: Path,
    overrides: tuple[str, ...],
) -> None:
    """Write waiting messages into DIR: ID.eml and ID.json each. They stay in the queue.

    docs/how-to/backup-and-files.md describes the files. Exit code 3 when a message is damaged.
    """
    with open_reader(load_config(config_dir, overrides).data_dir) as reader:
        write_all(reader, choice.chosen(reader, everything=everything), folder)


def write_all(reader: QueueReader, found: Iterable[Summary], folder: Path) -> None:
    """Write them, and say how many; exits with 3 when one is damaged."""
    folder.mkdir(parents=True, exist_ok=True)
    number, damaged = 0, 0
    for summary in found:
        content = reader.content(summary.id)
        if content is None:  # it was delivered meanwhile
            continue
        try:
            write_message(summary, content, folder, now=time.time())
            number += 1
        except ContentUnreadable as error:
            if reader.message(summary.id) is not None:
                click.echo(f"relevo: {summary.id}: {error}", err=True)
                damaged += 1
            _forget(summary, folder)
    Disk().sync_directory(folder)
    click.echo(f"{count(number, 'message')} written to {folder}")
    if damaged:
        sys.exit(EXIT_CONFIG)


def _forget(summary: Summary, folder: Path) -> None:
    (folder / f"{summary.id}.eml").unlink(missing_ok=True)


@click.command(
    "import",
    cls=Command,
    examples=(
        "relevo queue import /tmp/mail",
        "relevo queue import --again /tmp/mail",
    ),
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, exists=True))
@click.option("--again", is_flag=True, help="Also messages that this queue has dealt with before.")
@config_dir_option
@set_option
def import_messages(
    folder: Path, again: bool, config_dir: Path, overrides: tuple[str, ...]
) -> None:
    """Put messages that `queue export` wrote into the queue; the files stay.

    A message that waits already is left as it is, and so is one that the history knows, unless
    --again is given. Exit code 1 when a file is no message; the others are imported.
    """
    config = load_config(config_dir, overrides)
    messages, problems = _read(folder)
    make_queue(config)
    with Loader(config.data_dir, inline_size=config.queue.inline_size) as loader:
        found = loader.load(messages, again=again)
    wake(config.data_dir)
    for identity, state in found.items():
        if state is not Loaded.ADDED:
            click.echo(f"{identity}: left out, {state.value}")
    added = sum(state is Loaded.ADDED for state in found.values())
    click.echo(f"{count(added, 'message')} imported")
    for problem in problems:
        click.echo(f"relevo: {problem}", err=True)
    if problems:
        sys.exit(EXIT_NO)


def _read(folder: Path) -> tuple[list[SavedMessage], list[str]]:
    """The messages of a folder, and what is wrong with the others."""
    messages: list[SavedMessage] = []
    problems: list[str] = []
    for path in find_messages(folder):
        try:
            message = read_message(path)
            for unit in message.units:
                is_aside = unit.route == QUARANTINE and message.envelope.quarantine is not None
                if route_kind(unit.route) not in {LOCAL, PIPE, MX, VIA} and not is_aside:
                    raise NotAMessage(f"{path}: there is no route {unit.route!r}")
            messages.append(message)
        except NotAMessage as error:
            problems.append(str(error))
    return messages, problems


@click.command(cls=Command, examples=("relevo queue repair",))
@config_dir_option
@set_option
def repair(config_dir: Path, overrides: tuple[str, ...]) -> None:
    """Rebuild a queue whose database is damaged or missing, while no server runs.

    What the database still says is kept; other messages are rebuilt from their files, unless the
    history knows that they ended. The damaged files are moved aside. A sound queue is only looked
    at. Exit code 3 when the content of a message is damaged or lost.
    """
    config = load_config(config_dir, overrides)
    now = time.time()
    with kept_away(config):
        label = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        found = repair_queue(config.data_dir, now=now, label=label)
    click.echo("\n".join(_told(found)))
    losses = list(_losses(found))
    for loss in losses:
        click.echo(f"relevo: {loss}", err=True)
    if losses:
        sys.exit(EXIT_CONFIG)


def _told(found: Repaired) -> list[str]:
    if found.is_sound:
        return ["the database is sound: nothing was changed"]
    lines = [f"{count(found.kept, 'message')} kept as the database had them"]
    if found.moved_to is None:
        lines = ["there was no database: small messages, which stand in it alone, are gone"]
    if found.rebuilt:
        number = count(len(found.rebuilt), "message")
        lines.append(f"{number} rebuilt from files: {_named(found.rebuilt)}")
        lines.append("what of them was delivered before may be delivered again: look at them with")
        lines.append("`relevo queue list`, and drop what is not wanted, before the server starts")
    if found.ended:
        lines.append(f"{count(found.ended, 'file record')} left out: their messages had ended")
    if found.moved_to is not None:
        lines.append(f"the damaged database is in {found.moved_to}")
    return lines


def _losses(found: Repaired) -> list[str]:
    told = (
        (found.damaged, "waiting, but the content is damaged"),
        (found.no_content, "lost: the database had recipients, but no content is left"),
        (found.no_recipients, "left in the damaged database: content without recipients"),
    )
    return [f"{count(len(ids), 'message')} {text}: {_named(ids)}" for ids, text in told if ids]


def _named(ids: list[str]) -> str:
    more = len(ids) - _MOST_NAMED
    text = ", ".join(ids[:_MOST_NAMED])
    return text if more <= 0 else f"{text} and {more} more"
