"""Commands run in this process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from click.testing import CliRunner, Result

from relevo.cli import main


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str
    octets: bytes  # of `out`, before line ends were made LF

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Run(Protocol):
    """Run a command on the config directory: `run("user", "list", stdin="…")`."""

    def __call__(self, *words: str, stdin: str | None = None) -> Outcome: ...


def invoke(words: Sequence[str], stdin: str | None = None) -> Outcome:
    result: Result = CliRunner().invoke(main, list(words), input=stdin, catch_exceptions=False)
    return Outcome(result.exit_code, result.stdout, result.stderr, result.stdout_bytes)
