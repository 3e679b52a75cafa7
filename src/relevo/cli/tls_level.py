"""`relevo tls-level`: how well protected mail of and to other domains was, and forgetting it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from relevo.cli.command import Group
from relevo.cli.options import EXIT_NO, config_dir_option, json_option, load_config, set_option
from relevo.cli.phrases import count, moment
from relevo.mail import InvalidAddress, domain_to_ascii, normalize_domain
from relevo.queue.database import QueuePaths
from relevo.queue.levels import SecurityLevel
from relevo.queue.levels_by_hand import KnownLevels, forget_levels, list_levels

_WORDS = {
    SecurityLevel.PLAIN: "none",
    SecurityLevel.TLS_CLIENT: "tls",
    SecurityLevel.TLS_INSECURE: "tls",
    SecurityLevel.TLS_SECURE: "verified",
}


@click.group("tls-level", cls=Group)
def tls_level() -> None:
    """How well protected mail of and to other domains was at its best.

    Mail to a domain is not sent with less than it had before: `tls` means TLS with any
    certificate, `verified` one that is valid for the server's name. Levels only rise; clear one
    when a domain has given up what it had.
    """


@tls_level.command("list", examples=("relevo tls-level list", "relevo tls-level list --json"))
@click.argument("domain", required=False)
@json_option
@config_dir_option
@set_option
def list_domains(
    domain: str | None, as_json: bool, config_dir: Path, overrides: tuple[str, ...]
) -> None:
    """List domains with a level: mail to them, mail from them, last seen."""
    data_dir = load_config(config_dir, overrides).data_dir
    found = list_levels(data_dir) if QueuePaths(data_dir).database.exists() else []
    if domain is not None:
        names = _names(domain)
        found = [one for one in found if one.name in names]
    if as_json:
        click.echo(json.dumps([_plain(one) for one in found], indent=2, ensure_ascii=False))
        return
    width = max((len(one.name) for one in found), default=0)
    for one in found:
        plain = _plain(one)
        click.echo(
            f"{one.name:{width}}  to: {plain['outgoing']:8}  from: {plain['incoming']:8}  "
            f"{moment(one.seen)}"
        )
    click.echo(count(len(found), "domain"), err=True)


@tls_level.command(examples=("relevo tls-level clear example.org",))
@click.argument("domains", nargs=-1, required=True, metavar="DOMAIN...")
@config_dir_option
@set_option
def clear(domains: tuple[str, ...], config_dir: Path, overrides: tuple[str, ...]) -> None:
    """Forget the levels of domains, in both directions. Exit code 1 if one had none.

    A running server has forgotten them a minute later.
    """
    data_dir = load_config(config_dir, overrides).data_dir
    has_database = QueuePaths(data_dir).database.exists()
    is_unknown = False
    for domain in domains:
        known = [name for name in _names(domain) if has_database and forget_levels(data_dir, name)]
        if not known:
            is_unknown = True
            click.echo(f"relevo: nothing is known of {domain}", err=True)
    if is_unknown:
        sys.exit(EXIT_NO)


def _names(domain: str) -> tuple[str, ...]:
    """The forms under which a domain may stand: as mail from it has it, and in A-labels."""
    try:
        name = normalize_domain(domain)
        return tuple(dict.fromkeys((name, domain_to_ascii(name))))
    except InvalidAddress as error:
        raise click.UsageError(f"{domain} is no domain: {error}") from error


def _plain(levels: KnownLevels) -> dict[str, str | float]:
    return {
        "domain": levels.name,
        "outgoing": _WORDS[SecurityLevel(levels.outgoing)],
        "incoming": _WORDS[SecurityLevel(levels.incoming)],
        "seen": levels.seen,
    }
