"""Groups and commands with examples."""

from __future__ import annotations

import click
from click.testing import CliRunner

from relevo.cli.command import Command, Group


@click.group(cls=Group)
def tool() -> None:
    """A tool."""


@tool.command(examples=("tool zeta --long 'two words' | other | " + "x" * 100,))
def zeta() -> None:
    """Last letter, first defined."""


@tool.command()
def alpha() -> None:
    """First letter."""


def test_examples_are_shown_whole_and_unwrapped() -> None:
    out = CliRunner().invoke(zeta, ["--help"]).output
    assert out.endswith(f"\nExamples:\n  tool zeta --long 'two words' | other | {'x' * 100}\n")


def test_without_examples_there_is_no_heading() -> None:
    assert isinstance(alpha, Command)
    assert "Examples" not in CliRunner().invoke(alpha, ["--help"]).output


def test_commands_are_listed_as_they_were_defined() -> None:
    assert tool.list_commands(click.Context(tool)) == ["zeta", "alpha"]


def test_a_group_shows_the_first_sentence_of_each_command_whole() -> None:
    @tool.command()
    def wordy() -> None:
        """Do what takes a long line to say, a line that is longer than a terminal is wide.

        More of it.
        """

    out = " ".join(CliRunner().invoke(tool, ["--help"]).output.split())
    assert "a line that is longer than a terminal is wide." in out
    assert "More of it" not in out
    del tool.commands[wordy.name or ""]
