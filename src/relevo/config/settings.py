"""What one source says about one key, before the sources are merged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from relevo.config.convert import BadValue
from relevo.config.hook_model import DeclaredHook
from relevo.config.outbound_model import DeclaredRoute
from relevo.config.problems import Problem, Severity
from relevo.config.relay_model import DeclaredRelayDomain
from relevo.config.schema import Key

OVERRIDES = "--set"
"""Stands for the file name where a value comes from the command line."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A key with its value, of the type that the key holds, and where that stands.

    `name` is the key as its source spells it (`smtp_address` for `listen.smtp`).
    """

    key: Key
    value: Any
    file: str
    line: int
    name: str

    @property
    def origin(self) -> str:
        """Where the value stands, for people."""
        return f"{self.file}:{self.line}" if self.line else self.file

    def problem(self, text: str, hint: str = "", severity: Severity = Severity.ERROR) -> Problem:
        """A problem of this value."""
        return Problem(self.file, self.line, self.name, text, hint, severity)


@dataclass(slots=True)
class Reading:
    """All that one source says: settings in file order, and what is wrong with the others."""

    file: str
    settings: list[Setting] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    hooks: list[DeclaredHook] = field(default_factory=list)
    routes: list[DeclaredRoute] = field(default_factory=list)
    relay_domains: list[DeclaredRelayDomain] = field(default_factory=list)

    def add(self, key: Key, line: int, make: Callable[[], Any], name: str = "") -> None:
        """The setting with the value that `make` returns, or the problem it raises as BadValue."""
        name = name or key.name
        try:
            value = make()
        except BadValue as error:
            self.problem(line, name, error.text, error.hint)
        else:
            self.settings.append(Setting(key, value, self.file, line, name))

    def problem(self, line: int, key: str, text: str, hint: str = "") -> None:
        """Something that keeps this source from being used."""
        self.problems.append(Problem(self.file, line, key, text, hint))
