"""`relevo sendmail`: what programs call to send mail, in place of /usr/sbin/sendmail.

Exit codes are those of sysexits.h, not relevo's own: programs know them.
"""

from __future__ import annotations

import os
import pwd
import sys
import time
from pathlib import Path
from typing import NoReturn

import apsw
import click

from relevo.cli import sendmail_ways
from relevo.cli.command import Command
from relevo.cli.options import load_config, set_option
from relevo.cli.sendmail_message import (
    BadMessage,
    TooLarge,
    Writer,
    completed,
    header_recipients,
    read_message,
    trace_field,
)
from relevo.cli.sendmail_options import Options, WrongUsage, parse
from relevo.cli.sendmail_ways import Letter, NoSuchUser, NotTaken, TryLater
from relevo.config import Config, ConfigErrors
from relevo.config.layout import find_domains
from relevo.directory import DirectoryErrors
from relevo.mail import InvalidAddress, parse_address
from relevo.queue import DatabaseError, new_id
from relevo.service.data_dir import DataDirError

_EXITS: tuple[tuple[type[Exception], int], ...] = (
    (WrongUsage, os.EX_USAGE),
    (TooLarge, os.EX_DATAERR),
    (BadMessage, os.EX_DATAERR),
    (InvalidAddress, os.EX_NOUSER),
    (NoSuchUser, os.EX_NOUSER),
    (NotTaken, os.EX_UNAVAILABLE),
    (TryLater, os.EX_TEMPFAIL),
    (ConfigErrors, os.EX_CONFIG),
    (DirectoryErrors, os.EX_CONFIG),
    (DataDirError, os.EX_TEMPFAIL),
    (DatabaseError, os.EX_TEMPFAIL),
    (apsw.Error, os.EX_TEMPFAIL),
    (OSError, os.EX_TEMPFAIL),
)


@click.command(
    cls=Command,
    context_settings={
        "ignore_unknown_options": True, "allow_interspersed_args": False,
        "help_option_names": ["--help"],
    },
    examples=(
        "relevo sendmail -t < message",
        "relevo sendmail -i -f ada@example.org bob@example.net < message",
    ),
)  # fmt: skip
@click.option(
    "--config-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("/etc/relevo"),
    show_default=True,
    envvar="RELEVO_CONFIG_DIR",
    show_envvar=True,
    help="Folder with relevo.toml or chasquid.conf.",
)
@set_option
@click.argument("arguments", nargs=-1, metavar="[OPTION]... [RECIPIENT]...",
                type=click.UNPROCESSED)  # fmt: skip
def sendmail(config_dir: Path, overrides: tuple[str, ...], arguments: tuple[str, ...]) -> None:
    """Send the message on the standard input, as sendmail does; for programs.

    Options: -t recipients from To, Cc and Bcc too; -f ADDRESS reverse-path; -F NAME in a From that
    is missing; -i or -oi a dot alone does not end the message; -N, -R, -V, -B what NOTIFY, RET,
    ENVID and BODY say; -bp lists the queue. Others that programs use are ignored. The command works
    as `sendmail` when it is called by that name. docs/how-to/programs-that-send.md tells who may.

    Exit codes are those of sysexits.h: 0 taken; 64 usage, 65 message, 67 address; 69 refused; 75
    try later; 78 configuration.
    """
    try:
        options = parse(arguments)
        if options.lists_queue:
            _list_queue(config_dir)
        elif not options.does_nothing:
            _send(load_config(config_dir, overrides), options)
    except tuple(kind for kind, _ in _EXITS) as error:
        _end(error)


def _send(config: Config, options: Options) -> None:
    writer = _writer(config, options)
    message = read_message(
        sys.stdin.buffer, limit=config.smtp.max_message_size, ignores_dots=options.ignores_dots
    )
    wanted = list(options.recipients)
    if options.reads_recipients:
        wanted += header_recipients(message)
    if not wanted:
        raise WrongUsage("there are no recipients; name some, or use -t with To, Cc or Bcc")
    if len(wanted) > config.limits.expanded_recipients:
        raise WrongUsage(f"more than {config.limits.expanded_recipients} recipients")
    now = time.time()
    identity, hostname = new_id(now), config.hostname
    sender = writer.address if options.sender is None else options.sender
    letter = Letter(
        id=identity,
        reverse_path=parse_address(sender, _domain(config)),
        recipients=sendmail_ways.parsed_recipients(wanted, _domain(config)),
        data=completed(message, writer, message_id=identity, hostname=hostname, now=now),
        trace=trace_field(writer, message_id=identity, hostname=hostname, now=now),
        user=writer.user,
        now=now,
        body=options.body,
        notify=options.notify,
        ret=options.ret,
        envid=options.envid,
    )
    if sendmail_ways.may_write_queue(config):
        sendmail_ways.put_into_queue(config, letter)
    else:
        sendmail_ways.send_over_smtp(config, letter)


def _writer(config: Config, options: Options) -> Writer:
    """Who runs this."""
    user_id = os.getuid()
    try:
        entry = pwd.getpwuid(user_id)
        user, full_name = entry.pw_name, entry.pw_gecos.partition(",")[0]
    except KeyError:
        user, full_name = str(user_id), ""
    address = options.sender or f"{user}@{_domain(config)}"
    return Writer(address, options.full_name or full_name, user, user_id)


def _domain(config: Config) -> str:
    """What addresses without a domain get: the postmaster's, our first one, or our name."""
    if config.postmaster:
        return config.postmaster.rpartition("@")[2]
    domains, _ = find_domains(config.config_dir)
    return domains[0].name if domains else config.hostname


def _list_queue(config_dir: Path) -> None:
    from relevo.cli.queue import list_messages  # noqa: PLC0415 - rarely used

    list_messages.main(["--config-dir", str(config_dir)], standalone_mode=False)


def _end(error: Exception) -> NoReturn:
    code = next(code for kind, code in _EXITS if isinstance(error, kind))
    click.echo(f"sendmail: {error}", err=True)
    sys.exit(code)
