"""Remote routes (`mx:DOMAIN`, `via:SERVERS`) before relevo sends mail itself.

Mail of authenticated users to other servers is accepted and waits: each attempt defers it with a
reason that the sender's operator can read in the mail log, until it is sent or given up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relevo.delivery.attempt import Attempt, Result, temporary

if TYPE_CHECKING:
    from collections.abc import Sequence


class DeferringAgent:
    """Serves every remote route by deferring it."""

    name = "remote"

    async def attempt(self, attempt: Attempt) -> Sequence[Result]:
        result = temporary(
            "4.3.2", "this release does not send mail to other servers yet; the message waits"
        )
        return (result,) * len(attempt.pending)

    def close(self) -> None:
        """Nothing is kept."""
