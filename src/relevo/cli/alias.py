"""`relevo alias`: what the aliases files say, and where an address ends up."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from relevo.cli.command import Group
from relevo.cli.hooks_of_command import alias_hooks
from relevo.cli.options import EXIT_NO, config_dir_option, json_option, load_config, set_option
from relevo.config import Config, find_domains
from relevo.directory import (
    Directory,
    DirectoryWatcher,
    Existence,
    ExpansionFailed,
    MailTarget,
    PipeTarget,
    Target,
    UnknownNow,
    ViaTarget,
)
from relevo.directory.aliases import parse_aliases
from relevo.directory.local_part import LocalPartRules
from relevo.mail import normalize_domain, parse_address


@click.group(cls=Group)
def alias() -> None:
    """List aliases, and say where an address goes.

    Both read the files as the server does; edit domains/DOMAIN/aliases to change them.
    """


@alias.command(
    "list",
    examples=(
        "relevo alias list",
        "relevo alias list example.org --json",
    ),
)
@click.argument("domain", required=False)
@json_option
@config_dir_option
@set_option
def list_aliases(
    domain: str | None, as_json: bool, config_dir: Path, overrides: tuple[str, ...]
) -> None:
    """List the aliases, of one domain or of all."""
    config = load_config(config_dir, overrides)
    wanted = None if domain is None else normalize_domain(domain)
    domains = {one.name for one in find_domains(config_dir)[0]}
    if wanted is not None and wanted not in domains:
        click.echo(f"relevo: there is no domain {wanted} in {config_dir}", err=True)
        sys.exit(EXIT_NO)
    entries = list(_entries(config, wanted))
    if as_json:
        rows = [{"alias": name, "targets": list(map(_plain, found))} for name, found in entries]
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    for name, found in entries:
        for target in found:
            click.echo(f"{name}  {_line(target)}")


@alias.command(
    examples=(
        "relevo alias resolve sales@example.org",
        "relevo alias resolve --json sales@example.org",
    ),
)
@click.argument("address")
@json_option
@config_dir_option
@set_option
def resolve(address: str, as_json: bool, config_dir: Path, overrides: tuple[str, ...]) -> None:
    """Where does mail for an address go? Exit code 1 when nowhere.

    Each final target is a line: `(mail) address`, `(pipe) command` or
    `(via) address via server,server`. Alias hooks are called; `relevo explain` shows every step.
    """
    config = load_config(config_dir, overrides)
    try:
        with alias_hooks(config) as hooks:
            directory = DirectoryWatcher(config, hooks=hooks).current
            targets = asyncio.run(_targets(directory, address))
    except ExpansionFailed as error:
        click.echo(f"relevo: {error}", err=True)
        sys.exit(EXIT_NO)
    if not targets:
        click.echo(f"relevo: {address} is no user and no alias", err=True)
        sys.exit(EXIT_NO)
    if as_json:
        click.echo(json.dumps(list(map(_plain, targets)), indent=2, ensure_ascii=False))
        return
    for target in targets:
        click.echo(_line(target))


async def _targets(directory: Directory, text: str) -> tuple[Target, ...]:
    """Final targets, none when the address goes nowhere. Raises ExpansionFailed, InvalidAddress."""
    parsed = parse_address(text)
    if not parsed.local or not parsed.domain:
        raise click.UsageError(f"{text!r} is not an address; write user@domain")
    found = directory.normalize_recipient(parsed.local, parsed.domain)
    if directory.is_local(found.domain):
        existence = await directory.exists(found)
        if isinstance(existence, UnknownNow):
            raise ExpansionFailed(existence.reason)
        if existence is not Existence.FOUND:
            return ()
    return await directory.expand(found)


def _entries(config: Config, wanted: str | None) -> Iterator[tuple[str, tuple[Target, ...]]]:
    """Names with their own targets, not those that they lead to. Raises FileError."""
    rules = LocalPartRules(config.addresses.suffix_separators, config.addresses.drop_characters)
    for domain in find_domains(config.config_dir)[0]:
        if wanted not in {None, domain.name} or not domain.aliases.exists():
            continue
        data = domain.aliases.read_bytes()
        entries = parse_aliases(data, domain=domain.name, rules=rules, path=domain.aliases)
        for name, targets in sorted(entries.items()):
            yield f"{name}@{domain.name}", targets


def _line(target: Target) -> str:
    match target:
        case MailTarget(address):
            return f"(mail) {address.plain}"
        case PipeTarget(words):
            return f"(pipe) {' '.join(words)}"
        case ViaTarget(address, servers):
            return f"(via) {address.plain} via {','.join(servers)}"


def _plain(target: Target) -> dict[str, object]:
    match target:
        case MailTarget(address):
            return {"kind": "mail", "address": address.plain}
        case PipeTarget(words):
            return {"kind": "pipe", "command": list(words)}
        case ViaTarget(address, servers):
            return {"kind": "via", "address": address.plain, "servers": list(servers)}
