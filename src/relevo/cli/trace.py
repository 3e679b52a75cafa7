"""`relevo trace`: the history of a message, or of everything that names an address."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import click

from relevo.cli.command import Command
from relevo.cli.options import EXIT_NO, config_dir_option, json_option, load_config, set_option
from relevo.journal import Event, plain_line
from relevo.journal.maillog import json_line
from relevo.queue import Trace, open_reader


@click.command(
    cls=Command,
    examples=(
        "relevo trace 1m87pd87mcf62yrr1xxx",
        "relevo trace ada@example.org",
        "relevo trace --json --limit 10 ada@example.org",
    ),
)
@click.argument("what", metavar="ID|ADDRESS")
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=100,
    show_default=True,
    help="At most so many messages and rejections of an address, the latest.",
)
@json_option
@config_dir_option
@set_option
def trace(
    what: str, limit: int, as_json: bool, config_dir: Path, overrides: tuple[str, ...]
) -> None:
    """What happened to a message, or to all mail from and to an address.

    Shows acceptance, every attempt with its result, and what was refused, in the order of time.
    The history goes back as far as `history.max_age` says. Exit code 1 when it knows nothing.
    """
    with open_reader(load_config(config_dir, overrides).data_dir) as reader:
        if "@" in what:
            traces = [_about(what, one) for one in reader.trace_address(what, limit=limit)]
        else:
            traces = [reader.trace(what.lower())]
    traces = [one for one in reversed(traces) if one.events]
    if not traces:
        click.echo(f"relevo: the history has nothing about {what}", err=True)
        sys.exit(EXIT_NO)
    if as_json:
        entries = [
            {
                "message_id": _message_id(one),
                "events": [json.loads(json_line(e)) for e in one.events],
            }
            for one in traces
        ]
        click.echo(json.dumps(entries, indent=2, ensure_ascii=False))
        return
    click.echo("\n\n".join("\n".join(map(_line, one.events)) for one in traces))


def _about(address: str, trace: Trace) -> Trace:
    """Of a message all events; of what no message owns only those that name the address."""
    if _message_id(trace):
        return trace
    wanted = json.dumps(address.lower(), ensure_ascii=False)  # as a whole value
    return Trace(
        trace.message_id, tuple(one for one in trace.events if wanted in json_line(one).lower())
    )


def _message_id(trace: Trace) -> str:
    """The id of the message that the events belong to; "" when none owns them."""
    return next(filter(None, (getattr(one, "message_id", "") for one in trace.events)), "")


def _line(event: Event) -> str:
    day = time.strftime("%Y-%m-%d", time.localtime(event.time))
    return f"{day} {plain_line(event)}"
