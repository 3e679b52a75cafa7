"""A context to try a hook with, without a server."""

from __future__ import annotations

from typing import Any

from relevo.hooks.contract.examples import EXAMPLES
from relevo.hooks.contract.stages import Stage


def example(stage: str) -> Any:
    """The context of a stage that the reference shows; `dataclasses.replace` changes it.

    Raises ValueError where there is no such stage.
    """
    return EXAMPLES[Stage(stage)][0]
