"""The command as a whole: fast start, help everywhere, no traceback for anybody."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from harness.server import RELEVO
from relevo import __version__
from relevo.cli.command import Command
from relevo.cli.main import COMMANDS, main
from relevo.cli.options import EXIT_CONFIG, EXIT_FAULT, EXIT_USAGE
from unit.cli.invoking import invoke

VERSION_SECONDS = 0.06


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def test_version_is_printed_without_loading_any_command() -> None:
    code = (
        "import sys; from relevo.cli import main; main(['--version'], standalone_mode=False);"
        "print(sorted(name for name in sys.modules if name.startswith('relevo')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    version, loaded = done.stdout.splitlines()
    assert version == f"relevo {__version__}"
    assert loaded == "['relevo', 'relevo.cli', 'relevo.cli.main']"


@pytest.mark.alone
def test_version_costs_less_than_60_ms() -> None:
    def cost() -> float:
        before = os.times()
        subprocess.run([RELEVO, "--version"], check=True, stdout=subprocess.DEVNULL)
        after = os.times()
        return (after.children_user + after.children_system) - (
            before.children_user + before.children_system
        )

    assert min(cost() for _ in range(10)) <= VERSION_SECONDS


@pytest.mark.parametrize("path", [(), *commands(main)], ids=" ".join)
def test_help_works(path: tuple[str, ...]) -> None:
    outcome = invoke([*path, "--help"])
    assert outcome.code == 0
    assert outcome.out.startswith(f"Usage: main{''.join(f' {name}' for name in path)}")


@pytest.mark.parametrize("path", list(commands(main)), ids=" ".join)
def test_every_command_has_examples_of_itself(path: tuple[str, ...]) -> None:
    command: click.Command = main
    for name in path:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), name)
        assert found is not None
        command = found
    if isinstance(command, click.Group):
        return
    assert isinstance(command, Command)
    assert command.examples
    assert all(f"relevo {' '.join(path)}" in example for example in command.examples)


def test_the_list_of_commands_says_what_each_does() -> None:
    out = invoke(["--help"]).out
    for name, (_, _, text) in COMMANDS.items():
        assert f"  {name}" in out
        assert text in out


def test_an_unknown_command_is_wrong_usage() -> None:
    assert invoke(["unheard-of"]).code == EXIT_USAGE


def test_an_error_is_one_line_on_stderr() -> None:
    outcome = invoke(["config", "show", "-C", "/nonexistent"])
    assert outcome.code == EXIT_CONFIG
    assert outcome.out == ""
    text = "there is no such config directory (-C, or RELEVO_CONFIG_DIR, names another)"
    assert outcome.err == f"relevo: /nonexistent: {text}\n"


def test_a_fault_of_our_own_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise LookupError("gone")

    monkeypatch.setattr("relevo.cli.config.load_config", fail)
    outcome = invoke(["config", "show"])
    assert outcome.code == EXIT_FAULT
    assert outcome.err.startswith("relevo: fault in relevo: LookupError: gone")
    assert outcome.err.count("\n") == 1


def test_a_reader_that_goes_away_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("relevo.cli.config.load_config", fail)
    with pytest.raises(BrokenPipeError):  # for click, which ends quietly
        invoke(["config", "show"])
