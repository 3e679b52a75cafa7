"""Differences between versions of a hook, for people."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from relevo.cli.phrases import moment

if TYPE_CHECKING:
    from relevo.hooks.trials.effects import Compared, Difference


def difference_text(
    when: float, message_id: str, about: str, found: Compared, *, live: str, other: str
) -> str:
    """A message with both verdicts, and on a line each what only one of them has."""
    width = max(len(live), len(other)) + 1
    lines = [
        "  ".join(filter(None, (moment(when), message_id, about))),
        f"  {live + ':':<{width}} {found.live}",
        f"  {other + ':':<{width}} {found.other}",
    ]
    return "\n".join(lines + [line for each in found.differences for line in _lines(each)])


def _lines(difference: Difference) -> list[str]:
    if difference.aspect in {"verdict", "reply", "failure"}:
        return []  # the verdicts say it
    sides = [
        *(f"- {each}" for each in difference.live),
        *(f"+ {each}" for each in difference.other),
    ]
    return [f"  {difference.aspect}:", *(textwrap.indent(side, "    ") for side in sides if side)]
