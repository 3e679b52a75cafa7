"""Which waiting messages a command of `relevo queue` is about: ids or filters."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import click

from relevo.config.units import parse_duration
from relevo.mail import InvalidAddress, normalize_domain, parse_address
from relevo.queue import MessageFilter, QueueReader, UnitState
from relevo.queue.store import Summary


class NotWaiting(Exception):
    """Messages that were named, or any at all, are not in the queue."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The messages named, if any are, of them those that fit every filter."""

    ids: tuple[str, ...]
    filter: MessageFilter
    error: str  # part of a recipient's last error

    @property
    def is_everything(self) -> bool:
        return not self.ids and not self.error and self.filter == MessageFilter()

    def each(self, reader: QueueReader) -> Iterator[Summary]:
        """As `find`, one at a time where no ids are given."""
        if self.ids:
            yield from self.find(reader)
        else:
            yield from filter(self._has_error, reader.messages(self.filter))

    def find(self, reader: QueueReader) -> list[Summary]:
        """Oldest first, or in the order of the ids. Raises NotWaiting."""
        if not self.ids:
            return list(self.each(reader))
        found: list[Summary] = []
        missing: list[str] = []
        for identity in self.ids:
            summary = reader.message(identity.lower())
            if summary is None or summary.envelope.quarantine is not None:
                missing.append(identity)
            elif self.filter.matches(summary) and self._has_error(summary):
                found.append(summary)
        if missing:
            raise NotWaiting(f"not in the queue: {', '.join(missing)}")
        return found

    def chosen(self, reader: QueueReader, *, everything: bool) -> list[Summary]:
        """At least one message; all of the queue only when that was said. Raises NotWaiting."""
        if self.is_everything and not everything:
            raise click.UsageError("name messages by id or by filters, or say --all")
        if everything and not self.is_everything:
            raise click.UsageError("--all goes without ids and filters")
        found = self.find(reader)
        if not found:
            text = "the queue is empty" if everything else "no waiting message fits the filters"
            raise NotWaiting(text)
        return found

    def _has_error(self, summary: Summary) -> bool:
        wanted = self.error.lower()
        return not wanted or any(
            wanted in recipient.detail.lower()
            for _, _, _, recipients in summary.units
            for recipient in recipients
        )


def choosing(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the filter options; it gets one `choice` for them, and for `ids` if it has."""

    @functools.wraps(command)
    def with_choice(
        *,
        sender: str | None,
        recipient: str | None,
        domain: str | None,
        older_than: float | None,
        younger_than: float | None,
        state: str | None,
        error: str,
        ids: Sequence[str] = (),
        **others: object,
    ) -> None:
        now = time.time()
        wanted = MessageFilter(
            reverse_path=sender,
            recipient=recipient,
            domain=domain,
            created_before=None if older_than is None else now - older_than,
            created_since=None if younger_than is None else now - younger_than,
            state=None if state is None else UnitState(state),
        )
        command(choice=Choice(tuple(ids), wanted, error), **others)

    chosen: Callable[..., None] = with_choice
    for option in reversed(_OPTIONS):
        chosen = option(chosen)
    return chosen


def address(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """As the queue writes it; what is no address (a pipe's command) as it stands."""
    if value is None or value == "<>":
        return value and ""
    try:
        return str(parse_address(value))
    except InvalidAddress:
        return value


def _domain(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """As the queue writes it."""
    if value is None:
        return None
    try:
        return normalize_domain(value.removeprefix("@"))
    except InvalidAddress as error:
        raise click.BadParameter(str(error)) from error


def seconds(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> float | None:
    """A duration on the command line, such as 30m."""
    if value is None:
        return None
    try:
        return parse_duration(value).total_seconds()
    except ValueError as error:
        raise click.BadParameter(f"{error}; write for example 30m or 2d") from error


_OPTIONS = (
    click.option(
        "--sender", metavar="ADDRESS", callback=address, help="With this reverse-path, or <>."
    ),
    click.option("--recipient", metavar="ADDRESS", callback=address, help="With this recipient."),
    click.option(
        "--domain", metavar="DOMAIN", callback=_domain, help="With a recipient in this domain."
    ),
    click.option(
        "--older-than", metavar="DURATION", callback=seconds, help="Older than e.g. 30m or 2d."
    ),
    click.option(
        "--younger-than", metavar="DURATION", callback=seconds, help="Not older than that."
    ),
    click.option(
        "--state",
        type=click.Choice([state.value for state in UnitState]),
        help="Waiting for the next try; leased: being tried now; held until it is released.",
    ),
    click.option(
        "--error", metavar="TEXT", default="", help="With this text in a recipient's last error."
    ),
)
