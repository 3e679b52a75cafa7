"""Commands about users: user-add, user-remove, authenticate, check-userdb.

Other than chasquid-util they normalize the domain, so that no folder is made that means nothing,
and take turns with other writers of the file.
"""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

import click

from relevo.authn import make_credential, verify
from relevo.cli.chasquid_util.arguments import Arguments, Refused
from relevo.cli.user_files import domain_folder, give_to_server, read_users
from relevo.config import ConfigErrors, load
from relevo.config.layout import domains_dir
from relevo.directory import FileError
from relevo.directory.users import Credential, Denied
from relevo.directory.users_editing import remove_user, set_user
from relevo.mail import Address, InvalidAddress, normalize_domain
from relevo.mail.address import normalize_user

_FOLDER_MODE = 0o755


def user_add(arguments: Arguments) -> None:
    user = _user(arguments)
    credential: Credential = Denied()
    if arguments.has("--receive_only"):
        if arguments.has("--password"):
            raise Refused("Cannot specify both --receive_only and --password")
    else:
        credential = make_credential(_password(arguments))
    config_dir = arguments.config_dir
    folder = domain_folder(config_dir, user.domain)
    owner = _server_user(config_dir)
    if folder is None:
        click.echo("Creating database")
        folder = domains_dir(config_dir) / user.domain
        folder.mkdir(mode=_FOLDER_MODE, parents=True)
        give_to_server(folder, config_dir, owner)
    path = folder / "users"
    is_new = not path.exists()
    try:
        set_user(path, user.local, credential)
    except (FileError, OSError, TimeoutError) as error:
        raise Refused(f"Error loading database: {error}") from error
    if is_new:
        give_to_server(path, config_dir, owner)
    click.echo("Added user")


def user_remove(arguments: Arguments) -> None:
    user = _user(arguments)
    folder = domain_folder(arguments.config_dir, user.domain)
    try:
        is_removed = folder is not None and remove_user(folder / "users", user.local)
    except (FileError, OSError, TimeoutError) as error:
        raise Refused(f"Error loading database: {error}") from error
    if not is_removed:
        raise Refused("Unknown user")
    click.echo("Removed user")


def authenticate(arguments: Arguments) -> None:
    user = _user(arguments)
    password = _password(arguments)
    folder = domain_folder(arguments.config_dir, user.domain)
    users = _load(folder / "users") if folder is not None else {}
    if not verify(users.get(user.local), password, user=user.plain):
        raise Refused("Authentication failed")
    click.echo("Authentication succeeded")


def check_userdb(arguments: Arguments) -> None:
    name = domain_of(arguments)
    folder = domain_folder(arguments.config_dir, name)
    path = (folder or domains_dir(arguments.config_dir) / name) / "users"
    if not path.exists():
        raise Refused(f'Error: file "{path}" does not exist')
    click.echo(f"Database loaded ({len(_load(path))} users)")


def domain_of(arguments: Arguments) -> str:
    """The first word behind the command as a normalized domain. Raises Refused."""
    try:
        return normalize_domain(arguments.word(1))
    except InvalidAddress as error:
        raise Refused(f"Error: {error}") from error


def _user(arguments: Arguments) -> Address:
    user, _, domain = arguments.word(1).partition("@")
    if not domain:
        raise Refused("Domain missing, username should be of the form 'user@domain'")
    try:
        return Address(normalize_user(user), normalize_domain(domain))
    except InvalidAddress as error:
        raise Refused(f"Error normalizing user: {error}") from error


def _password(arguments: Arguments) -> bytes:
    """From the option, else asked for twice."""
    if arguments.has("--password"):
        return arguments.options["--password"].encode("utf-8", "surrogateescape")
    if not is_terminal():
        raise Refused(
            "Error reading password: standard input is no terminal; write --password=PASSWORD"
        )
    password = getpass.getpass("Password: ")
    if getpass.getpass("Confirm password: ") != password:
        raise Refused("Passwords don't match")
    return password.encode("utf-8", "surrogateescape")


def is_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty()


def _load(path: Path) -> dict[str, Credential]:
    try:
        return read_users(path)
    except FileError as error:
        raise Refused(f"Error loading database: {error}") from error


def _server_user(config_dir: Path) -> str:
    """`server.user`; a configuration that is not right yet keeps nobody from adding users."""
    try:
        return load(config_dir).server.user
    except ConfigErrors:
        return ""
