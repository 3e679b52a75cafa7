"""Arguments as chasquid-util takes them: words, and `--key=value` options anywhere among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_CONFIG_DIR = "/etc/chasquid"


class Refused(Exception):
    """The command ends with this text on standard error, and exit code 1."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """A command line, taken apart. Options that nobody asks for are ignored."""

    words: tuple[str, ...]
    options: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, words: Sequence[str]) -> Arguments:
        """Never fails; an option without `=` has the value ""."""
        options = {}
        for word in words:
            if word.startswith("-"):
                name, _, value = word.partition("=")
                options[name] = value
        return cls(tuple(word for word in words if not word.startswith("-")), options)

    def word(self, number: int) -> str:
        """The word at a place, from 0; "" when there are fewer."""
        return self.words[number] if number < len(self.words) else ""

    def has(self, option: str) -> bool:
        return option in self.options

    @property
    def uses_old_spelling(self) -> bool:
        """Whether the config directory was named in the way that is not to be used any more."""
        return bool(self.options.get("--configdir"))

    @property
    def config_dir(self) -> Path:
        named = (self.options.get(name) for name in ("-C", "--config_dir", "--configdir"))
        return Path(next(filter(None, named), DEFAULT_CONFIG_DIR))
