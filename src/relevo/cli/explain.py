"""`relevo explain`: why an address goes where it goes, and why a message gets its results."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relevo.cli.command import Command
from relevo.cli.explain_file import EnvelopeOptions, explain_file
from relevo.cli.hooks_of_command import alias_hooks
from relevo.cli.options import EXIT_NO, config_dir_option, json_option, load_config, set_option
from relevo.directory import DirectoryWatcher, Existence, UnknownNow
from relevo.directory.explanation import Branch, Explanation, Look, target_text
from relevo.mail import InvalidUser, parse_address

if TYPE_CHECKING:
    from relevo.config import Config


@click.command(
    cls=Command,
    examples=(
        "relevo explain info@example.org",
        "relevo explain --json in.fo+tag@example.org",
        "relevo explain message.eml",
        "relevo explain --client-ip 192.0.2.7 --mail-from a@example.net message.eml",
    ),
)
@click.argument("what", metavar="ADDRESS|MESSAGE")
@click.option(
    "--client-ip", metavar="IP", default="", help="Of a message: the address of who sent it."
)
@click.option(
    "--helo", metavar="NAME", default="", help="Of a message: what the client said in EHLO."
)
@click.option(
    "--mail-from",
    metavar="ADDRESS",
    default=None,
    help="Of a message: its reverse-path; <> for the null one.",
)
@json_option
@config_dir_option
@set_option
def explain(
    what: str,
    client_ip: str,
    helo: str,
    mail_from: str | None,
    as_json: bool,
    config_dir: Path,
    overrides: tuple[str, ...],
) -> None:
    """Why does mail for an address go where it goes? Why does a message get its results?

    Of an address: how its local part is read, who is asked whether it exists, and the whole tree
    of aliases down to the final targets, with every answer and the time it took. Alias hooks are
    really called. Exit code 1 when mail for it would not be taken.

    Of a message (a file, or `-` for standard input): every step of SPF, DKIM, ARC and DMARC, the
    questions to DNS with their answers, and what the server would answer now. What the options do
    not say is taken from the Return-Path and the first Received field. Exit code 1 when the message
    would be refused.
    """
    config = load_config(config_dir, overrides)
    if what == "-" or ("@" not in what or "/" in what) or Path(what).is_file():
        explain_file(what, EnvelopeOptions(client_ip, helo, mail_from), config, as_json=as_json)
    else:
        _explain_address(what, config, as_json=as_json)


def _explain_address(address: str, config: Config, *, as_json: bool) -> None:
    parsed = parse_address(address)
    if not parsed.local or not parsed.domain:
        raise click.UsageError(f"{address!r} is not an address; write user@domain")
    with alias_hooks(config) as hooks:
        directory = DirectoryWatcher(config, hooks=hooks).current
        if not directory.is_local(parsed.domain):
            who = "only users who have logged in may send there"
            click.echo(f"{parsed.domain} is no domain of ours: {who}")
            return
        try:
            found = directory.normalize_recipient(parsed.local, parsed.domain)
        except InvalidUser as error:
            click.echo(f"RCPT is answered 550 5.1.3: {error}")
            sys.exit(EXIT_NO)
        explanation = asyncio.run(directory.explain(found))
    if as_json:
        click.echo(json.dumps(_plain(explanation), indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(_lines(explanation)))
    if explanation.existence is not Existence.FOUND or _has_problem(explanation.tree):
        sys.exit(EXIT_NO)


def _lines(explanation: Explanation) -> Iterator[str]:
    yield explanation.address.plain
    for note in explanation.notes:
        yield f"  {note}"
    yield f"  RCPT: {_answer(explanation.existence)}"
    yield from _look_lines(explanation.existence_looks, "    ")
    if explanation.existence is Existence.FOUND:
        yield "  the message goes to:"
        yield from _branch_lines(explanation.tree, "    ")
        if _has_problem(explanation.tree):
            yield "  a message for it is answered 451 until the PROBLEM is mended"


def _answer(existence: Existence | UnknownNow) -> str:
    match existence:
        case Existence.FOUND:
            return "250, it exists"
        case Existence.ABSENT:
            return "550 5.1.1, nobody knows it"
        case Existence.INVALID:
            return "550 5.1.3, no address of ours can look like this"
        case UnknownNow(reason):
            return f"451, it cannot be said now: {reason}"


def _look_lines(looks: tuple[Look, ...], indent: str) -> Iterator[str]:
    for look in dict.fromkeys(looks):  # the same name may be asked for in two forms of it
        took = "" if look.seconds is None else f"  ({look.seconds * 1000:.1f} ms)"
        yield f"{indent}{look.asked} → {_said(look.answer)}{took}"


def _said(answer: str) -> str:
    return "nothing" if answer == "-" else answer


def _branch_lines(branch: Branch, indent: str) -> Iterator[str]:
    mark = "" if branch.below or branch.problem else "  (final)"
    yield f"{indent}{target_text(branch.target)}{mark}"
    yield from _look_lines(branch.looks, indent + "  ")
    if branch.problem:
        yield f"{indent}  PROBLEM: {branch.problem}"
    for below in branch.below:
        yield from _branch_lines(below, indent + "  ")


def _has_problem(branch: Branch) -> bool:
    return bool(branch.problem) or any(_has_problem(below) for below in branch.below)


def _plain(explanation: Explanation) -> dict[str, object]:
    return {
        "address": explanation.address.plain,
        "notes": list(explanation.notes),
        "rcpt": _answer(explanation.existence),
        "looks": [dataclasses.asdict(look) for look in explanation.existence_looks],
        "tree": _plain_branch(explanation.tree),
    }


def _plain_branch(branch: Branch) -> dict[str, object]:
    return {
        "target": target_text(branch.target),
        "looks": [dataclasses.asdict(look) for look in branch.looks],
        "problem": branch.problem,
        "below": [_plain_branch(below) for below in branch.below],
    }
