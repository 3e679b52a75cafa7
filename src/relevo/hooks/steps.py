"""What one hook of a stage answered: the steps in which a stage comes to its verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relevo.value import dataclass

if TYPE_CHECKING:
    from relevo.hooks.caller import Called
    from relevo.hooks.contract import Verdict
    from relevo.hooks.programs import Program


@dataclass(frozen=True, slots=True)
class Step:
    """An answer. `hook` was asked in the place of `place`: itself, or a canary of it.

    `failure` says what was wrong with the hook, "" for nothing.
    """

    place: str
    hook: str
    version: str
    verdict: Verdict
    failure: str = ""

    @classmethod
    def of(
        cls, place: Program, program: Program, called: Called | None, verdict: Verdict, failure: str
    ) -> Step:
        """From the end of a call."""
        version = "" if called is None else called.version
        return cls(place.name, program.name, version, verdict, failure)
