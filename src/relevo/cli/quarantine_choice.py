"""Which messages a command of `relevo quarantine` is about: ids or filters."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from relevo.cli.options import config_dir_option, json_option, load_config, set_option
from relevo.cli.queue_choice import NotWaiting, address, seconds
from relevo.queue import MessageFilter, QueueReader, open_reader
from relevo.queue.store import Summary

_EVERYTHING = MessageFilter(is_quarantined=True)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The messages named, if any are, of them those that fit every filter."""

    ids: tuple[str, ...]
    filter: MessageFilter
    everything: bool
    data_dir: Path

    @property
    def reader(self) -> QueueReader:
        """Opened; a context manager."""
        return open_reader(self.data_dir)

    def find(self, reader: QueueReader) -> list[Summary]:
        """At least one, oldest first or in the order of the ids. Raises NotWaiting."""
        if not self.ids and self.filter == _EVERYTHING and not self.everything:
            raise click.UsageError("name messages by id or by filters, or say --all")
        if self.everything and (self.ids or self.filter != _EVERYTHING):
            raise click.UsageError("--all goes without ids and filters")
        if not self.ids:
            found = list(reader.messages(self.filter))
        else:
            named = [(identity, reader.message(identity.lower())) for identity in self.ids]
            missing = [
                identity
                for identity, one in named
                if one is None or one.envelope.quarantine is None
            ]
            if missing:
                raise NotWaiting(f"not in quarantine: {', '.join(missing)}")
            found = [one for _, one in named if one is not None and self.filter.matches(one)]
        if not found:
            text = "the quarantine is empty" if self.everything else "no message fits the filters"
            raise NotWaiting(text)
        return found


def choosing(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the filter options; it gets one `wanted` for them."""

    @functools.wraps(command)
    def with_filter(
        *,
        sender: str | None,
        recipient: str | None,
        older_than: float | None,
        younger_than: float | None,
        hook: str | None,
        reason: str | None,
        **others: object,
    ) -> None:
        now = time.time()
        wanted = MessageFilter(
            is_quarantined=True,
            reverse_path=sender,
            recipient=recipient,
            hook=hook,
            reason=reason,
            quarantined_before=None if older_than is None else now - older_than,
            quarantined_since=None if younger_than is None else now - younger_than,
        )
        command(wanted=wanted, **others)

    return _with(with_filter, _FILTERS)


def acting(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that changes messages its options; it gets one `chosen` for ids and filters,
    and `dry_run` and `as_json`.
    """
    return _with(_choosing_ids(command), (*_IDS, *_ACTING, *_CONFIG))


def exporting(command: Callable[..., None]) -> Callable[..., None]:
    """The same for one that writes messages into a `folder`."""
    return _with(_choosing_ids(command), (*_IDS, _FOLDER, *_CONFIG))


def _choosing_ids(command: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(command)
    def with_chosen(
        *,
        ids: tuple[str, ...],
        everything: bool,
        wanted: MessageFilter,
        config_dir: Path,
        overrides: tuple[str, ...],
        **others: object,
    ) -> None:
        data_dir = load_config(config_dir, overrides).data_dir
        command(chosen=Chosen(ids, wanted, everything, data_dir), **others)

    return with_chosen


def _with(
    command: Callable[..., None], options: tuple[Callable[..., Callable[..., None]], ...]
) -> Callable[..., None]:
    for option in reversed(options):
        command = option(command)
    return command


_FILTERS = (
    click.option(
        "--sender", metavar="ADDRESS", callback=address, help="With this reverse-path, or <>."
    ),
    click.option("--recipient", metavar="ADDRESS", callback=address, help="With this recipient."),
    click.option(
        "--older-than", metavar="DURATION", callback=seconds, help="There for longer than e.g. 2d."
    ),
    click.option(
        "--younger-than", metavar="DURATION", callback=seconds, help="Not there for longer."
    ),
    click.option("--hook", metavar="NAME", help="Set aside by this hook, or e.g. dmarc."),
    click.option("--reason", metavar="TEXT", help="With this text in the reason."),
)
_IDS = (
    click.argument("ids", nargs=-1, metavar="[ID]..."),
    click.option("--all", "everything", is_flag=True, help="All messages in quarantine."),
    choosing,
)
_ACTING = (
    click.option("--dry-run", is_flag=True, help="Only say which messages it would be."),
    json_option,
)
_CONFIG = (config_dir_option, set_option)
_FOLDER = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
