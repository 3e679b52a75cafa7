"""`relevo user`: the users of a domain, in the file that chasquid shares."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from relevo.authn import InvalidIdentity, make_credential, parse_identity, verify
from relevo.cli.command import Group
from relevo.cli.options import EXIT_NO, config_dir_option, json_option, load_config, set_option
from relevo.cli.user_files import domain_folder, give_to_server, read_users
from relevo.config import find_domains
from relevo.config.layout import domains_dir
from relevo.directory.users import Credential, Denied, Plain, Scrypt
from relevo.directory.users_editing import remove_user, set_user
from relevo.mail import Address, normalize_domain

_MAX_PASSWORD = 1024  # octets

password_option = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input, one line."
)


def _identity(_context: click.Context, _parameter: click.Parameter, value: str) -> Address:
    """`user@domain` in its normal form."""
    try:
        return parse_identity(value)
    except InvalidIdentity as error:
        raise click.BadParameter(f"{value!r}: {error}") from error


address_argument = click.argument("address", metavar="USER@DOMAIN", callback=_identity)


@click.group(cls=Group)
def user() -> None:
    """Add, remove, list and verify users.

    A running server sees a change within `reload.interval`; `relevo reload` makes it look at once.
    """


@user.command(
    examples=(
        "relevo user add ada@example.org",
        "relevo user add --password-stdin ada@example.org < secret",
        "relevo user add --receive-only archive@example.org",
    ),
)
@address_argument
@password_option
@click.option("--receive-only", is_flag=True, help="A user who gets mail but can never log in.")
@config_dir_option
@set_option
def add(
    address: Address,
    password_stdin: bool,
    receive_only: bool,
    config_dir: Path,
    overrides: tuple[str, ...],
) -> None:
    """Add a user, or give one a new password.

    The password is asked for twice, unless it comes from standard input. A domain that does not
    exist yet is made.
    """
    if receive_only and password_stdin:
        raise click.UsageError("--receive-only takes no password: leave --password-stdin out")
    config = load_config(config_dir, overrides)
    credential: Credential = Denied()
    if not receive_only:
        credential = make_credential(_read_password(from_stdin=password_stdin, confirm=True))
    folder = domain_folder(config_dir, address.domain)
    if folder is None:
        folder = domains_dir(config_dir) / address.domain
        folder.mkdir(parents=True)
        give_to_server(folder, config_dir, config.server.user)
        click.echo(f"made the domain {address.domain} ({folder})")
    is_new_file = not (folder / "users").exists()
    is_new = set_user(folder / "users", address.local, credential)
    if is_new_file:
        give_to_server(folder / "users", config_dir, config.server.user)
    click.echo(f"{'added' if is_new else 'changed'} {address.plain}")


@user.command(
    examples=("relevo user remove ada@example.org",),
)
@address_argument
@config_dir_option
@set_option
def remove(address: Address, config_dir: Path, overrides: tuple[str, ...]) -> None:
    """Remove a user. Mail that was delivered stays where it is."""
    load_config(config_dir, overrides)
    folder = domain_folder(config_dir, address.domain)
    if folder is None or not remove_user(folder / "users", address.local):
        click.echo(f"relevo: there is no user {address.plain}", err=True)
        sys.exit(EXIT_NO)
    click.echo(f"removed {address.plain}")


@user.command(
    "list",
    examples=(
        "relevo user list",
        "relevo user list example.org --json",
    ),
)
@click.argument("domain", required=False)
@json_option
@config_dir_option
@set_option
def list_users(
    domain: str | None, as_json: bool, config_dir: Path, overrides: tuple[str, ...]
) -> None:
    """List the users, of one domain or of all."""
    load_config(config_dir, overrides)
    wanted = None if domain is None else normalize_domain(domain)
    folders = {one.name: one.path for one in find_domains(config_dir)[0]}
    if wanted is not None and wanted not in folders:
        click.echo(f"relevo: there is no domain {wanted} in {domains_dir(config_dir)}", err=True)
        sys.exit(EXIT_NO)
    rows = [
        (f"{name}@{domain_name}", _scheme(credential))
        for domain_name, path in folders.items()
        if wanted in {None, domain_name}
        for name, credential in sorted(read_users(path / "users").items())
    ]
    if as_json:
        entries = [{"user": name, "password": scheme} for name, scheme in rows]
        click.echo(json.dumps(entries, indent=2, ensure_ascii=False))
        return
    for name, scheme in rows:
        click.echo(name if scheme == "scrypt" else f"{name}  ({_NOTES[scheme]})")


@user.command(
    "verify",
    examples=(
        "relevo user verify ada@example.org",
        "printf 'secret\\n' | relevo user verify --password-stdin ada@example.org",
    ),
)
@address_argument
@password_option
@config_dir_option
@set_option
def verify_user(
    address: Address, password_stdin: bool, config_dir: Path, overrides: tuple[str, ...]
) -> None:
    """Does a password fit? Exit code 1 when it does not."""
    load_config(config_dir, overrides)
    password = _read_password(from_stdin=password_stdin, confirm=False)
    folder = domain_folder(config_dir, address.domain)
    credential = read_users(folder / "users").get(address.local) if folder else None
    if not verify(credential, password, user=address.plain):
        click.echo(f"relevo: user or password of {address.plain} is wrong", err=True)
        sys.exit(EXIT_NO)
    click.echo(f"the password of {address.plain} fits")


_NOTES = {"plain": "password in plain text", "denied": "receives only"}


def _scheme(credential: Credential) -> str:
    match credential:
        case Scrypt():
            return "scrypt"
        case Plain():
            return "plain"
        case Denied():
            return "denied"


def _read_password(*, from_stdin: bool, confirm: bool) -> bytes:
    """A password of at least one octet."""
    if from_stdin:
        line: bytes = sys.stdin.buffer.readline(_MAX_PASSWORD + 2)
        password = line.rstrip(b"\r\n")
        if not password:
            raise click.UsageError("standard input has no password in its first line")
    else:
        text = click.prompt("Password", hide_input=True, confirmation_prompt=confirm, err=True)
        password = str(text).encode("utf-8", "surrogateescape")
    if len(password) > _MAX_PASSWORD:
        raise click.UsageError(f"the password is longer than {_MAX_PASSWORD} octets")
    return password
