"""`relevo queue summary` and `relevo queue simulate`: what waits for whom, and until when."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import inf
from pathlib import Path

import click

from relevo.cli.command import Command
from relevo.cli.options import config_dir_option, json_option, load_config, set_option
from relevo.cli.phrases import count, span
from relevo.cli.queue_choice import seconds
from relevo.config import Config
from relevo.journal.escape import escape
from relevo.queue import open_reader
from relevo.queue.reading import DestinationSummary
from relevo.queue.schedule import RetrySteps
from relevo.queue.simulation import Played, Rules, Step, play


@click.command(
    cls=Command,
    examples=("relevo queue summary", "relevo queue summary --limit 5 --json"),
)
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True,
    help="Destinations to show, those with most mail first.",
)  # fmt: skip
@json_option
@config_dir_option
@set_option
def summary(limit: int, as_json: bool, config_dir: Path, overrides: tuple[str, ...]) -> None:
    """Count what waits by destination: units, those being tried, next try, an error."""
    with open_reader(load_config(config_dir, overrides).data_dir) as reader:
        found, others, total = reader.summary(limit)
    now = time.time()
    if as_json:
        entries = [_as_plain(each) for each in found]
        click.echo(json.dumps({"units": total, "destinations": entries}, indent=2))
        return
    for each in found:
        click.echo(escape(_line(each, now)))
    if others:
        click.echo(f"{others} more destinations; --limit shows them")
    click.echo(count(total, "unit"), err=True)


def _as_plain(each: DestinationSummary) -> dict[str, object]:
    return {
        "route": each.route,
        "units": each.units,
        "leased": each.leased,
        "backlog": each.backlog,
        "next_due": each.next_due,
        "error": each.error,
    }


def _line(each: DestinationSummary, now: float) -> str:
    parts = []
    if each.leased:
        parts.append(f"{each.leased} being tried")
    if each.backlog:
        parts.append(f"{each.backlog} waiting for room")
    if each.next_due is not None:
        left = each.next_due - now
        parts.append("due now" if left <= 0 else f"next try in {span(left)}")
    error = f": {each.error}" if each.error else ""
    return f"{each.units:>8}  {each.route}  {', '.join(parts)}{error}"


@click.command(
    cls=Command,
    examples=(
        "relevo queue simulate",
        "relevo queue simulate --answers-after 6h",
        "relevo queue simulate --hold-for 1d --deliver-by 26h --return",
        "relevo queue simulate --set queue.give_up_after=2d --json",
    ),
)
@click.option(
    "--answers-after", metavar="DURATION", callback=seconds,
    help="The destination answers again when the message is so old; default: never.",
)  # fmt: skip
@click.option(
    "--hold-for", metavar="DURATION", callback=seconds,
    help="The sender wishes that it is not sent before (FUTURERELEASE).",
)  # fmt: skip
@click.option(
    "--deliver-by", metavar="DURATION", callback=seconds,
    help="The sender wants it delivered until then (DELIVERBY), or to be told.",
)  # fmt: skip
@click.option("--return", "returns", is_flag=True, help="With --deliver-by: or to get it back.")
@json_option
@config_dir_option
@set_option
def simulate(
    answers_after: float | None,
    hold_for: float | None,
    deliver_by: float | None,
    returns: bool,
    as_json: bool,
    config_dir: Path,
    overrides: tuple[str, ...],
) -> None:
    """Play what happens to a message whose destination does not answer, by your configuration.

    Nothing is sent and no server is asked: tries, notices and the end are shown as they would
    come.
    """
    if returns and deliver_by is None:
        raise click.UsageError("--return needs --deliver-by")
    rules = replace(
        rules_of(load_config(config_dir, overrides)),
        hold=hold_for or 0.0,
        deliver_by=inf if deliver_by is None else deliver_by,
        returns=returns,
    )
    steps = tuple(play(rules, answers_after=inf if answers_after is None else answers_after))
    if as_json:
        entries = [
            {"age": step.age, "step": step.step.name.lower(), "wait": step.wait} for step in steps
        ]
        click.echo(json.dumps(entries, indent=2))
        return
    for line in _table(steps):
        click.echo(line)


def rules_of(config: Config) -> Rules:
    """What a configuration says of tries and notices."""
    return Rules(
        retry=RetrySteps.parse(config.queue.retry),
        give_up_after=config.queue.give_up_after.total_seconds(),
        delay_after=config.queue.delay_notice.total_seconds() or None,
    )


@dataclass(frozen=True, slots=True)
class _Row:
    """Steps of one kind in a row, with one wait between them."""

    steps: Sequence[Played]

    def __str__(self) -> str:
        first, last = self.steps[0], self.steps[-1]
        if len(self.steps) == 1:
            again = f", again after {span(first.wait)}" if first.wait else ""
            return f"{span(first.age):>8}            {first.step.value}{again}"
        ages = f"{span(first.age):>8} to {span(last.age):<8}"
        return f"{ages}{len(self.steps)} tries fail, one each {span(first.wait)}"


_TRIES = frozenset({Step.TRY_FAILS, Step.DELIVERED, Step.GIVEN_UP})


def _table(steps: Sequence[Played]) -> Iterator[str]:
    for _, group in groupby(steps, key=lambda step: (step.step, step.wait)):
        yield str(_Row(tuple(group)))
    tries = sum(step.step in _TRIES for step in steps)
    yield f"{count(tries, 'try').replace('trys', 'tries')} in {span(steps[-1].age)}"
