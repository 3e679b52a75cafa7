"""The agent that delivers into nothing: `local = "discard"`, for tests and measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relevo.delivery.attempt import DELIVERED, Attempt, Result

if TYPE_CHECKING:
    from collections.abc import Sequence


class DiscardAgent:
    """Serves route `local`: everything is delivered at once and nothing is kept."""

    name = "discard"

    async def attempt(self, attempt: Attempt) -> Sequence[Result]:
        return (DELIVERED,) * len(attempt.pending)

    def close(self) -> None:
        """Nothing is kept."""
