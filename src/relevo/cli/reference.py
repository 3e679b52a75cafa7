"""docs/reference/cli.md, made from the commands themselves.

    python -m relevo.cli.reference DIRECTORY

writes it below DIRECTORY, the top of a checkout. A test fails while it is not up to date.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap

import click

import relevo.cli
from relevo.cli.command import Command
from relevo.cli.main import main as relevo_command

PAGE = Path("docs/reference/cli.md")

_INTRODUCTION = """\
# The command line

<!-- Made by `python -m relevo.cli.reference .`; edit src/relevo/cli/ instead. -->

Every command has `--help`, with examples. Options may stand before or behind arguments. Results go
to standard output, errors to standard error as one message that starts with `relevo:`. Where a
command lists, `--json` prints the same for programs.

`relevo serve`, `relevo queue`, `relevo backup`, `relevo import`, `relevo trace`, `relevo status`
and `relevo reload` are run as root or as the user of the server; the others need the config
directory only.

## Exit codes

| code | meaning |
|---|---|
"""


def reference_page() -> str:
    """The whole page."""
    lines = [_INTRODUCTION.rstrip("\n"), *_exit_codes(), ""]
    context = click.Context(relevo_command, info_name="relevo")
    for name, command in _commands(relevo_command, context, "relevo"):
        lines += _section(name, command)
    return "\n".join(lines).rstrip("\n") + "\n"


def _exit_codes() -> Iterator[str]:
    """Rows from the docstring of the room, which is where they are kept."""
    text = " ".join(inspect.cleandoc(relevo.cli.__doc__ or "").split())
    listed = text.partition("for all commands:")[2].rstrip(".")
    for entry in listed.split(";"):
        code, _, meaning = entry.strip().partition(" ")
        yield f"| {code} | {meaning} |"


def _commands(
    group: click.Group, context: click.Context, path: str
) -> Iterator[tuple[str, click.Command]]:
    """Every command with its whole name, groups in front of what they hold."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from _commands(command, context, f"{path} {name}")


def _section(name: str, command: click.Command) -> Iterator[str]:
    level = "##" if name.count(" ") == 1 else "###"
    yield f"{level} `{name}`"
    yield ""
    yield from _prose(command.help or "")
    if isinstance(command, click.Group):
        return
    arguments = [
        one.make_metavar(click.Context(command))
        for one in command.params
        if isinstance(one, click.Argument)
    ]
    yield f"Usage: `{' '.join([name, '[OPTIONS]', *arguments])}`"
    yield ""
    if isinstance(command, Command) and command.examples:
        yield from ("```sh", *command.examples, "```", "")
    options = [one for one in command.params if isinstance(one, click.Option)]
    if not options:
        return
    yield "| option | meaning |"
    yield "|---|---|"
    for option in options:
        yield _row(option)
    yield ""


def _prose(text: str) -> Iterator[str]:
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        yield from wrap(paragraph, 100, break_on_hyphens=False, break_long_words=False)
        yield ""


def _row(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in sorted(option.opts, key=len, reverse=True))
    value = "" if option.is_flag else f" {_metavar(option)}"
    meaning = option.help or ""
    if option.show_default and option.default is not None:
        meaning += f" Default: `{option.default}`."
    if option.envvar:
        meaning += f" Environment: `{option.envvar}`."
    meaning = re.sub(r"(\S*[<>*]\S*)", r"`\1`", re.sub(r"\s+", " ", meaning))
    return f"| {names}{value} | {meaning} |".replace("`<>.`", "`<>`.")


def _metavar(option: click.Option) -> str:
    if option.metavar:
        return option.metavar
    if isinstance(option.type, click.Choice):
        return "\\|".join(map(str, option.type.choices))
    return {"directory": "DIRECTORY", "integer range": "NUMBER"}[option.type.name]


def main(top: Path) -> None:
    """Write the page below `top`."""
    target = top / PAGE
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(reference_page(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
