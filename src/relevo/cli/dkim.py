"""`relevo dkim`: keys that sign mail, and signatures of messages."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import BinaryIO

import click

from relevo.cli.command import Group
from relevo.cli.dkim_files import (
    DkimRefused,
    folder_of,
    keys_of,
    published,
    resolver_of,
    unused_selector,
    write_key,
)
from relevo.cli.dkim_rotation import rotate_once
from relevo.cli.options import EXIT_NO, config_dir_option, json_option, load_config, set_option
from relevo.config import Config, find_domains
from relevo.mail import normalize_domain
from relevo.mailauth.dkim import DkimOutcome, DkimResult, sign_message, verify_message
from relevo.mailauth.dkim.author import author_domain
from relevo.mailauth.dkim.private_key import KeyKind, SigningKey, key_record, zone_line

MAX_MESSAGE = 256 * 1024 * 1024

domain_argument = click.argument("domain", callback=lambda _c, _p, value: normalize_domain(value))
message_argument = click.argument("message", type=click.File("rb"), default="-")
selector_option = click.option(
    "--selector", metavar="SELECTOR", help="Default: the date, as 20261231."
)
algorithm_option = click.option(
    "--algorithm",
    type=click.Choice([kind.value for kind in KeyKind]),
    default=KeyKind.RSA_2048.value,
    show_default=True,
    help="RSA is verified everywhere; Ed25519 is small, and not known to all yet.",
)


@click.group(cls=Group)
def dkim() -> None:
    """Keys that sign mail, and signatures of messages.

    A domain's keys are the files dkim:SELECTOR.pem in its folder; each signs. A running server sees
    a new one within `reload.interval`.
    """


@dkim.command(
    examples=(
        "relevo dkim new example.org",
        "relevo dkim new example.org --algorithm ed25519 --selector mail",
    ),
)
@domain_argument
@selector_option
@algorithm_option
@config_dir_option
@set_option
def new(
    domain: str,
    selector: str | None,
    algorithm: str,
    config_dir: Path,
    overrides: tuple[str, ...],
) -> None:
    """Make a key for a domain, and print what has to stand in DNS.

    The key signs from now on, so for a domain that signs already use `rotate`.
    """
    config = load_config(config_dir, overrides)
    folder = folder_of(config_dir, domain)
    selector = selector or unused_selector(folder, time.time())
    path = write_key(folder, selector, KeyKind(algorithm), config_dir, config.server.user)
    click.echo(f"made {path}\nPublish this in DNS:\n")
    _print_records(domain, selector)


def _print_records(domain: str, *selectors: str) -> None:
    """Of keys of the folder that `-C` names."""
    config_dir = click.get_current_context().params["config_dir"]
    for key in keys_of(config_dir, domain):
        if not selectors or key.selector in selectors:
            click.echo(zone_line(domain, key.selector, key_record(key.key)))


@dkim.command(
    examples=(
        "relevo dkim dns",
        "relevo dkim dns example.org --check",
    ),
)
@click.argument("domain", required=False)
@click.option("--check", is_flag=True, help="Ask DNS whether it stands there.")
@config_dir_option
@set_option
def dns(domain: str | None, check: bool, config_dir: Path, overrides: tuple[str, ...]) -> None:
    """Print what has to stand in DNS for the keys of a domain, or of all.

    With --check, exit code 1 when something is missing or different.
    """
    config = load_config(config_dir, overrides)
    if domain is not None:
        domains = [normalize_domain(domain)]
    else:
        domains = [one.name for one in find_domains(config_dir)[0]]
    wrong = False
    for name in domains:
        for key in keys_of(config_dir, name):
            line = zone_line(name, key.selector, key_record(key.key))
            if not check:
                click.echo(line)
                continue
            problem = asyncio.run(_published(key, config))
            wrong = wrong or bool(problem)
            click.echo(f"{key.selector}._domainkey.{key.domain}: {problem or 'published'}")
            if problem:
                click.echo(line)
    if wrong:
        sys.exit(EXIT_NO)


@dkim.command(
    examples=(
        "relevo dkim sign message.eml > signed.eml",
        "relevo dkim sign --domain example.org < message.eml",
    ),
)
@message_argument
@click.option(
    "--domain", metavar="DOMAIN", help="Whose keys sign; default: the domain of the From field."
)
@config_dir_option
@set_option
def sign(
    message: BinaryIO,
    domain: str | None,
    config_dir: Path,
    overrides: tuple[str, ...],
) -> None:
    """Sign a message (`-`: standard input) and print it."""
    load_config(config_dir, overrides)
    octets = _octets(message)
    signer = normalize_domain(domain) if domain else author_domain(octets.partition(b"\r\n\r\n")[0])
    if not signer:
        raise click.UsageError("the message has no From field with one domain; use --domain")
    keys = keys_of(config_dir, signer)
    if not keys:
        raise DkimRefused(f"{signer} has no key; `relevo dkim new {signer}` makes one")
    sys.stdout.buffer.write(sign_message(octets, keys, now=time.time()) + octets)


@dkim.command(
    examples=(
        "relevo dkim verify message.eml",
        "relevo dkim verify --json < message.eml",
    ),
)
@message_argument
@json_option
@config_dir_option
@set_option
def verify(
    message: BinaryIO,
    as_json: bool,
    config_dir: Path,
    overrides: tuple[str, ...],
) -> None:
    """Verify the signatures of a message (`-`: standard input), with keys from DNS.

    Exit code 1 when none is good.
    """
    config = load_config(config_dir, overrides)
    results = asyncio.run(_verified(_octets(message), config))
    if as_json:
        click.echo(json.dumps([_plain(result) for result in results], indent=2))
    elif not results:
        click.echo("none: the message is not signed")
    else:
        click.echo("\n".join(_line(result) for result in results))
    if not any(result.is_pass for result in results):
        sys.exit(EXIT_NO)


@dkim.command(
    examples=(
        "relevo dkim rotate example.org",
        "relevo dkim rotate example.org --algorithm ed25519",
    ),
)
@domain_argument
@selector_option
@algorithm_option
@click.option("--force", is_flag=True, help="Do not wait for DNS, nor for the overlap to end.")
@config_dir_option
@set_option
def rotate(
    domain: str,
    selector: str | None,
    algorithm: str,
    force: bool,
    config_dir: Path,
    overrides: tuple[str, ...],
) -> None:
    """Take the next step from a domain's old key to a new one, and say what to do.

    Step 1 makes the next key, which signs nothing yet. Step 2, once its record is in DNS, lets it
    sign in the place of the old one of its kind. Step 3, a week later, revokes the old one: until
    then its record must stay, for mail that is still under way. Run it as often as you like.
    """
    config = load_config(config_dir, overrides)
    for line in rotate_once(
        config, domain, KeyKind(algorithm), selector or "", now=time.time(), force=force
    ):
        click.echo(line)


async def _verified(octets: bytes, config: Config) -> tuple[DkimResult, ...]:
    timeout_s = config.dkim.timeout.total_seconds()
    return await verify_message(octets, resolver_of(config), now=time.time(), timeout_s=timeout_s)


async def _published(key: SigningKey, config: Config) -> str:
    return await published(key, resolver_of(config))


def _octets(message: BinaryIO) -> bytes:
    """The message with the line ends of the wire."""
    data: bytes = message.read(MAX_MESSAGE + 1)
    if len(data) > MAX_MESSAGE:
        raise click.UsageError(f"the message is larger than {MAX_MESSAGE} octets")
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _line(result: DkimResult) -> str:
    parts = [f"{result.outcome.value}:"]
    if result.domain:
        parts.append(f"{result.domain}, selector {result.selector}")
    if result.key_bits:
        parts.append(f"({result.algorithm}, {result.key_bits} bits)")
    if result.reason:
        parts.append(f"- {result.reason}")
    if result.outcome is DkimOutcome.PASS and not result.is_whole_body:
        parts.append("- not for all of the body")
    if result.is_testing:
        parts.append("- the domain is testing")
    return " ".join(parts)


def _plain(result: DkimResult) -> dict[str, object]:
    return {
        "result": result.outcome.value,
        "reason": result.reason,
        "domain": result.domain,
        "selector": result.selector,
        "identity": result.identity,
        "algorithm": result.algorithm,
        "key_bits": result.key_bits,
        "is_testing": result.is_testing,
        "is_whole_body": result.is_whole_body,
        "body_hash": result.body_hash.hex(),
    }
