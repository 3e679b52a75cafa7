"""The `relevo` command and the table of its subcommands."""

from __future__ import annotations

import importlib

import click

from relevo import __version__

# name → (module, attribute, one line of help): known without importing the module
COMMANDS = {
    "serve": ("relevo.cli.serve", "serve", "Run the server in the foreground."),
}


class _LazyGroup(click.Group):
    """Imports a command's module only when the command is used: `--version` stays fast."""

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


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="relevo", message="%(prog)s %(version)s")
def main() -> None:
    """relevo: a mail server that is programmed at every stage."""
