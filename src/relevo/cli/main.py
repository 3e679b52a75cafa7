"""The `relevo` command, the table of its subcommands, and the one border for errors."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from relevo import __version__

# name → (module, attribute, one line of help): known without importing the module
COMMANDS = {
    "demo": ("relevo.cli.demo", "demo", "Try it out: a working server on this machine."),
    "serve": ("relevo.cli.serve", "serve", "Run the server in the foreground."),
    "check": ("relevo.cli.check", "check", "Look for mistakes in a config directory."),
    "config": ("relevo.cli.config", "config", "Show the configuration in force."),
    "user": ("relevo.cli.user", "user", "Add, remove, list and verify users."),
    "alias": ("relevo.cli.alias", "alias", "List aliases, and say where an address goes."),
    "dkim": ("relevo.cli.dkim", "dkim", "Keys that sign mail, and signatures of messages."),
    "explain": (
        "relevo.cli.explain",
        "explain",
        "Why mail goes where it goes, and gets its results.",
    ),
    "reports": ("relevo.cli.reports", "reports", "DMARC reports of other servers."),
    "hook": ("relevo.cli.hook", "hook", "List hooks, try one, or start a new one."),
    "queue": ("relevo.cli.queue", "queue", "Look at waiting messages, retry, hold or drop them."),
    "quarantine": (
        "relevo.cli.quarantine",
        "quarantine",
        "Messages that were set aside: look, release, drop.",
    ),
    "sendmail": ("relevo.cli.sendmail", "sendmail", "Send a message, as programs do."),
    "trace": ("relevo.cli.trace", "trace", "What happened to a message or an address."),
    "tls-level": (
        "relevo.cli.tls_level",
        "tls_level",
        "How well protected mail to and from other domains was.",
    ),
    "status": ("relevo.cli.status", "status", "What the running server is doing."),
    "penalty": ("relevo.cli.penalty", "penalty", "Sources that are slowed down or refused."),
    "backup": ("relevo.cli.backup", "backup", "Copy queue and history, while the server runs."),
    "import": ("relevo.cli.import_from", "import_from", "Take over what another server left."),
    "chasquid-util": (
        "relevo.cli.chasquid_util",
        "chasquid_util",
        "What chasquid-util does, with its arguments and answers.",
    ),
    "reload": ("relevo.cli.reload", "reload", "Let the running server re-read its files."),
    "restart": ("relevo.cli.restart", "restart", "Restart the server; no connection is refused."),
}


SENDMAIL_NAMES = {"sendmail": (), "mailq": ("-bp",), "newaliases": ("-bi",)}
"""Names by which programs call sendmail, and the options that each stands for."""


def _given() -> list[str]:
    """The arguments of this process; what is called by a name of sendmail is that command."""
    arguments = sys.argv[1:]
    name = Path(sys.argv[0]).name
    if name in SENDMAIL_NAMES:
        return ["sendmail", *SENDMAIL_NAMES[name], *arguments]
    return arguments


class LazyGroup(click.Group):
    """Imports a command's module only when the command is used: `--version` stays fast.

    It is also where every error of a command ends: as one message on stderr and an exit code.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry[2]) for name, entry in COMMANDS.items()])

    def main(self, args: Sequence[str] | None = None, *more: Any, **settings: Any) -> Any:
        return super().main(_given() if args is None else args, *more, **settings)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
            raise
        except Exception as error:  # noqa: BLE001 - the border: nobody gets to see a traceback
            from relevo.cli.failures import explain  # noqa: PLC0415 - only when it is needed

            failure = explain(error)
            click.echo(f"relevo: {failure.text}", err=True)
            ctx.exit(failure.exit_code)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="relevo", message="%(prog)s %(version)s")
def main() -> None:
    """relevo, a mail server for your own domains.

    `relevo demo` tries it out. Each command has a --help with examples; the manual is in docs/.
    """
