"""`relevo queue retry|hold|release|drop`: changes of waiting messages by hand."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from relevo.cli import queue_text
from relevo.cli.command import Command
from relevo.cli.options import config_dir_option, json_option, load_config, set_option
from relevo.cli.phrases import count
from relevo.cli.queue_choice import Choice, choosing
from relevo.cli.running_server import wake
from relevo.queue import QueueReader, UnitState, open_reader
from relevo.queue.store import Summary

_OPTIONS = (
    click.argument("ids", nargs=-1, metavar="[ID]..."),
    click.option("--all", "everything", is_flag=True, help="All waiting messages."),
    choosing,
    click.option("--dry-run", is_flag=True, help="Only say which messages it would be."),
    json_option,
    config_dir_option,
    set_option,
)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which messages, and how to answer."""

    choice: Choice
    everything: bool
    dry_run: bool
    as_json: bool
    config_dir: Path
    overrides: tuple[str, ...]


def _acting(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that all of them have; it gets one `wanted` for them."""

    @functools.wraps(command)
    def with_wanted(
        *,
        choice: Choice,
        everything: bool,
        dry_run: bool,
        as_json: bool,
        config_dir: Path,
        overrides: tuple[str, ...],
        **others: object,
    ) -> None:
        wanted = _Wanted(choice, everything, dry_run, as_json, config_dir, overrides)
        command(wanted, **others)

    acting: Callable[..., None] = with_wanted
    for option in reversed(_OPTIONS):
        acting = option(acting)
    return acting


@dataclass(frozen=True, slots=True)
class _Act:
    """What is done to the chosen messages, and how it is told."""

    done: str  # "made due now"
    planned: str  # "would be retried"
    change: Callable[[QueueReader, Choice, Sequence[str]], int]
    question: str = ""  # asked before, unless that is not wanted

    def run(self, wanted: _Wanted, *, asks: bool = False) -> None:
        data_dir = load_config(wanted.config_dir, wanted.overrides).data_dir
        with open_reader(data_dir) as reader:
            found = wanted.choice.chosen(reader, everything=wanted.everything)
            if wanted.dry_run:
                self._tell(found, 0, wanted)
                return
            if asks:
                _list(found, f"to be {self.done}", err=wanted.as_json)
                click.confirm(self.question, abort=True, err=True)
            number = self.change(reader, wanted.choice, [one.id for one in found])
        wake(data_dir)
        self._tell(found, number, wanted)

    def _tell(self, found: list[Summary], number: int, wanted: _Wanted) -> None:
        if wanted.as_json:
            ids = [one.id for one in found]
            entry = {"dry_run": wanted.dry_run, "changed": number, "messages": ids}
            click.echo(json.dumps(entry, indent=2))
        elif wanted.dry_run:
            _list(found, self.planned)
        else:
            click.echo(f"{count(number, 'message')} {self.done}")


def _list(found: list[Summary], what: str, *, err: bool = False) -> None:
    now = time.time()
    for one in found:
        click.echo(queue_text.one_line(one, now), err=err)
    click.echo(f"{count(len(found), 'message')} {what}", err=err)


def _retry(reader: QueueReader, choice: Choice, ids: Sequence[str]) -> int:
    is_meant = bool(choice.ids) or choice.filter.state is UnitState.HELD
    return reader.retry(ids, even_held=is_meant)


_RETRY = _Act("made due now", "would be retried", _retry)
_HOLD = _Act("held", "would be held", lambda reader, _, ids: reader.hold(ids))
_RELEASE = _Act("released", "would be released", lambda reader, _, ids: reader.release(ids))
_DROP = _Act(
    "dropped", "would be dropped", lambda reader, _, ids: reader.drop(ids), "Drop for good?"
)


@click.command(
    cls=Command,
    examples=(
        "relevo queue retry 1m87pd87mcf62yrr1xxx",
        "relevo queue retry --error 'connection refused' --dry-run",
        "relevo queue retry --domain example.net",
        "relevo queue retry --all",
    ),
)
@_acting
def retry(wanted: _Wanted) -> None:
    """Try waiting messages again now, instead of at their next time.

    What is held stays so, unless it is named by its id or with --state held.
    """
    _RETRY.run(wanted)


@click.command(
    cls=Command,
    examples=(
        "relevo queue hold 1m87pd87mcf62yrr1xxx",
        "relevo queue hold --sender ada@example.org",
        "relevo queue hold --domain example.net --older-than 1h --dry-run",
    ),
)
@_acting
def hold(wanted: _Wanted) -> None:
    """Keep waiting messages back: they are not tried, and do not expire, until released.

    A message that is being tried now is not held; say it again when the attempt is over.
    """
    _HOLD.run(wanted)


@click.command(
    cls=Command,
    examples=("relevo queue release 1m87pd87mcf62yrr1xxx", "relevo queue release --all"),
)
@_acting
def release(wanted: _Wanted) -> None:
    """Let messages go that are held: they are tried now."""
    _RELEASE.run(wanted)


@click.command(
    cls=Command,
    examples=(
        "relevo queue drop 1m87pd87mcf62yrr1xxx",
        "relevo queue drop --sender spammer@example.org --dry-run",
        "relevo queue drop --older-than 4d --yes",
    ),
)
@_acting
@click.option("--yes", is_flag=True, help="Do not ask.")
def drop(wanted: _Wanted, *, yes: bool) -> None:
    """Remove waiting messages for good; neither sender nor recipients are told.

    Shows them and asks first.
    """
    _DROP.run(wanted, asks=not yes)
