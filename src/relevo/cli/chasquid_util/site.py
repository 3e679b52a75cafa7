"""Commands about aliases, other domains and the configuration.

chasquid-util asks the running server about the first two; here the files and the queue's database
are looked at, so they work without a server too.
"""

from __future__ import annotations

from pathlib import Path

import apsw
import click

from relevo.cli.chasquid_util.arguments import Arguments, Refused
from relevo.cli.chasquid_util.conf_text import render_chasquid_conf
from relevo.cli.chasquid_util.users import domain_of
from relevo.config import Config, ConfigErrors, load
from relevo.directory import (
    DirectoryErrors,
    DirectoryWatcher,
    ExpansionFailed,
    MailTarget,
    PipeTarget,
    Target,
    ViaTarget,
)
from relevo.mail import InvalidAddress, parse_address
from relevo.queue.database import QueuePaths
from relevo.queue.levels_by_hand import forget_levels

_KINDS = ("email", "forward", "pipe")


def aliases_resolve(arguments: Arguments) -> None:
    """Lines `(kind)  target`, by kind; the servers of a via alias are not shown."""
    config = _load(arguments.config_dir)
    try:
        directory = DirectoryWatcher(config).current
        parsed = parse_address(arguments.word(1))
        address = directory.normalize_recipient(parsed.local, parsed.domain)
        targets = directory.expand_now(address) or (MailTarget(address),)
    except (ExpansionFailed, DirectoryErrors, InvalidAddress) as error:
        raise Refused(f"Error resolving: {error}") from error
    lines = [_line(target) for target in targets]
    for kind in _KINDS:
        for found, text in lines:
            if found == kind:
                click.echo(f"({kind})  {text}")


def _line(target: Target) -> tuple[str, str]:
    match target:
        case MailTarget(address):
            return "email", address.plain
        case PipeTarget(words):
            return "pipe", " ".join(words)
        case ViaTarget(address, _):
            return "forward", address.plain


def domaininfo_remove(arguments: Arguments) -> None:
    """Forget how well protected the mail of a domain was."""
    domain = domain_of(arguments)
    data_dir = _load(arguments.config_dir).data_dir
    try:
        is_known = QueuePaths(data_dir).database.exists() and forget_levels(data_dir, domain)
    except (apsw.Error, OSError) as error:
        raise Refused(f"Error removing domaininfo entry: {error}") from error
    if not is_known:
        raise Refused("Error removing domaininfo entry: does not exist")


def print_config(arguments: Arguments) -> None:
    """What is in force, in the text format of chasquid.conf."""
    click.echo(render_chasquid_conf(_load(arguments.config_dir)))


def _load(config_dir: Path) -> Config:
    try:
        return load(config_dir)
    except ConfigErrors as error:
        raise Refused(f"Error loading config: {error}") from error
