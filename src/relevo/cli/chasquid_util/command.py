"""The command itself: which function serves which word, and how everything ends."""

from __future__ import annotations

import sys
from collections.abc import Callable

import click

from relevo.cli.chasquid_util import dkim, site, users
from relevo.cli.chasquid_util.arguments import Arguments, Refused
from relevo.cli.command import Command

_COMMANDS: dict[str, Callable[[Arguments], None]] = {
    "user-add": users.user_add,
    "user-remove": users.user_remove,
    "authenticate": users.authenticate,
    "check-userdb": users.check_userdb,
    "aliases-resolve": site.aliases_resolve,
    "domaininfo-remove": site.domaininfo_remove,
    "print-config": site.print_config,
    "dkim-keygen": dkim.dkim_keygen,
    "dkim-dns": dkim.dkim_dns,
}

_USAGE = """\
Usage: chasquid-util [-C=DIR] COMMAND ...

  user-add USER@DOMAIN [--password=PASSWORD] [--receive_only]
  user-remove USER@DOMAIN
  authenticate USER@DOMAIN [--password=PASSWORD]
  check-userdb DOMAIN
  aliases-resolve ADDRESS
  domaininfo-remove DOMAIN
  print-config
  dkim-keygen DOMAIN [SELECTOR [FILE]] [--algo=rsa3072|rsa4096|ed25519]
  dkim-dns DOMAIN [SELECTOR [FILE]]

Options may stand anywhere and are written --key=value. -C=DIR or --config_dir=DIR is the config
directory, /etc/chasquid without it."""


class _Unparsed(Command):
    """All words go to the command as they are, options of any kind too."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if any(word in {"--help", "-h"} for word in args):
            return super().parse_args(ctx, ["--help"])
        return super().parse_args(ctx, ["--", *args])


@click.command(
    "chasquid-util",
    cls=_Unparsed,
    examples=(
        "relevo chasquid-util user-add ada@example.org",
        "relevo chasquid-util -C=/etc/chasquid aliases-resolve sales@example.org",
        "relevo chasquid-util dkim-keygen example.org --algo=ed25519",
    ),
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="COMMAND [WORD]...")
def chasquid_util(words: tuple[str, ...]) -> None:
    """What chasquid-util does, with its arguments, answers and exit codes.

    The commands are user-add, user-remove, authenticate, check-userdb, aliases-resolve,
    domaininfo-remove, print-config, dkim-keygen and dkim-dns. Options have the form --key=value
    and may stand anywhere; -C=DIR names the config directory, /etc/chasquid without it.
    """
    arguments = Arguments.parse(words)
    if arguments.uses_old_spelling:
        click.echo("--configdir is an old spelling: write --config_dir=DIR or -C=DIR", err=True)
    name = arguments.word(0)
    run = _COMMANDS.get(name)
    try:
        if run is None:
            raise Refused(f'Unknown argument "{name}"\n\n{_USAGE}')
        run(arguments)
    except Refused as error:
        click.echo(error, err=True)
        sys.exit(1)
