"""`relevo status`: what the running server says about itself."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

import click

from relevo.cli.canary_text import canary_text
from relevo.cli.command import Command
from relevo.cli.options import config_dir_option, json_option, load_config, set_option
from relevo.cli.phrases import count, moment, octets, span
from relevo.queue import Counts, DatabaseError, StoreState, open_reader
from relevo.service.control import ask


@click.command(
    cls=Command,
    examples=(
        "relevo status",
        "relevo status --json",
    ),
)
@json_option
@config_dir_option
@set_option
def status(as_json: bool, config_dir: Path, overrides: tuple[str, ...]) -> None:
    """What the running server is doing: processes, listeners, counters, problems.

    Counters count since the start of the server. Exit code 4 when none is running.
    """
    data_dir = load_config(config_dir, overrides).data_dir
    answer = ask(data_dir, "status")
    counts: Counts | None = None
    with contextlib.suppress(DatabaseError), open_reader(data_dir) as reader:
        counts = reader.counts()
    if as_json:
        queue = counts and {
            "messages": counts.messages,
            "units": counts.units,
            "leased": counts.leased,
            "next_due": counts.next_due,
        }
        quarantine = counts and {
            "messages": counts.quarantined.messages,
            "octets": counts.quarantined.octets,
            "oldest": counts.quarantined.oldest,
        }
        entry = {**answer, "queue": queue, "quarantine": quarantine}
        click.echo(json.dumps(entry, indent=2, ensure_ascii=False))
        return
    kept = (_queue(counts), *_quarantine(counts))
    click.echo("\n".join((*_server(answer), *kept, *_counters(answer), *_hooks(answer))))


def _server(answer: dict[str, Any]) -> list[str]:
    lines = [
        f"relevo {answer['version']}, process {answer['pid']}, up {span(answer['uptime'])}",
        f"data in {os.fspath(answer['data_dir'])}",
    ]
    for key, addresses in answer["listeners"].items():
        lines += [f"listening: {address} ({key})" for address in addresses]
    for worker in answer["workers"]:
        state = "ready" if worker["ready"] else "starting"
        restarts = f", {count(worker['restarts'], 'restart')}" if worker["restarts"] else ""
        lines.append(f"worker: process {worker['pid']}, {state}{restarts}")
    lines += [
        f"store of worker {number}: {text}"
        for number, text in enumerate(answer.get("stores", ()))
        if text != StoreState.WRITABLE.text
    ]
    lines += [_certificate(*item) for item in answer.get("certificates", {}).items()]
    lines.append(f"connections: {answer['connections']}")
    problems = [f"problem: {problem}" for problem in answer["problems"]]
    return lines + (problems or ["problems: none"])


def _certificate(name: str, end: float) -> str:
    left = end - time.time()
    when = "expired" if left <= 0 else f"in {span(left)}"
    return f"certificate: {name}, valid until {moment(end)} ({when})"


def _queue(counts: Counts | None) -> str:
    if counts is None:
        return "queue: cannot be read"
    text = f"queue: {count(counts.messages, 'message')}, {counts.leased} being delivered"
    if counts.next_due is None:
        return text
    wait = counts.next_due - time.time()
    return f"{text}, next try {'now' if wait <= 0 else f'in {span(wait)}'}"


def _quarantine(counts: Counts | None) -> list[str]:
    """Nothing is said of an empty one."""
    if counts is None or counts.quarantined.oldest is None:
        return []
    kept = counts.quarantined
    age = span(time.time() - counts.quarantined.oldest)
    number = count(kept.messages, "message")
    return [f"quarantine: {number}, {octets(kept.octets)}, the oldest there for {age}"]


def _counters(answer: dict[str, Any]) -> list[str]:
    return [
        f"{name.replace('_', ' ')}: {value}"
        for name, value in answer["counters"].items()
        if value or not name.endswith("_us")  # the loop is not watched unless asked for
    ]


def _hooks(answer: dict[str, Any]) -> list[str]:
    """One line a hook that was called."""
    lines = []
    for hook in answer.get("hooks", ()):
        outcomes = [
            f"{hook[name]} {name.replace('_', ' ')}"
            for name in hook
            if name not in {"hook", "calls"} and not name.endswith("_ms")
        ]
        times = [f"{name} {hook[f'{name}_ms']:g} ms" for name in ("p50", "p99", "longest")]
        calls = count(hook["calls"], "call")
        lines.append(f"hook {hook['hook']}: {calls} ({', '.join(outcomes)}), {', '.join(times)}")
    return lines + [canary_text(canary) for canary in answer.get("canaries", ())]
