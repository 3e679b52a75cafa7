"""What passes between the dispatcher and the agents that deliver.

An agent serves one kind of route. It is given an `Attempt` (a unit and which of its recipients
are still pending) and answers with one `Result` for each of those, in their order. A failure of
the next hop, the disk or a command is a `Result`, not an exception; an exception is a bug of ours,
counts as temporary, and is logged by the dispatcher.

Texts in results are public: they stand in the mail log and in DSNs, so they name no paths and no
configuration. Enhanced status codes: RFC 3463.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Protocol

from relevo.journal import Outcome
from relevo.queue.store import RecipientState
from relevo.value import dataclass

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Sequence

    from relevo.queue.store import QueuedRecipient, Unit

_log = logging.getLogger(__name__)

INTERNAL_ERROR = "internal error, see the server's log"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a unit.

    `is_repeat`: an earlier try may have got further than the store knows (its process died before
    the outcome was committed), so an agent that can must look before it delivers again.
    `is_bound`: a hook chose the route of this attempt, whatever the configuration says.
    """

    unit: Unit
    pending: tuple[int, ...]  # indices into unit.recipients
    is_repeat: bool
    is_bound: bool = False

    @property
    def recipients(self) -> tuple[QueuedRecipient, ...]:
        """The pending ones, in the order of `pending`."""
        return tuple([self.unit.recipients[index] for index in self.pending])


@dataclass(frozen=True, slots=True)
class Result:
    """How an attempt ended for one recipient."""

    outcome: Outcome
    status: str  # enhanced status code
    detail: str = ""
    peer: str = ""  # the server that decided
    tls: str = ""  # how the connection to it was protected
    is_passed_on: bool = False  # with what the sender wants to hear: the server tells it
    is_relay_told: bool = False  # the sender wants to hear that it was handed on (RFC 2852)


DELIVERED = Result(Outcome.DELIVERED, "2.0.0")


def temporary(status: str, detail: str) -> Result:
    """Try again later."""
    return Result(Outcome.TEMPORARY, status, detail)


def permanent(status: str, detail: str) -> Result:
    """Never try again."""
    return Result(Outcome.PERMANENT, status, detail)


class Agent(Protocol):
    """Delivers the units of one kind of route."""

    @property
    def name(self) -> str:
        """What stands in the mail log for a route without a next hop: "maildir", "mda"."""

    async def attempt(self, attempt: Attempt) -> Sequence[Result]:
        """One result for each pending recipient, in their order."""

    def close(self) -> None:
        """Give back what is kept between attempts, once none is running."""


async def gather_results(deliveries: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """The results of deliveries that run at the same time, in their order, once all have ended.

    One that raises is temporary, so that the others are not delivered again; only if all raise,
    that is raised.
    """
    ended = await asyncio.gather(*deliveries, return_exceptions=True)
    are_all_broken = all(isinstance(result, BaseException) for result in ended)
    results: list[Result] = []
    for result in ended:
        if isinstance(result, Result):
            results.append(result)
            continue
        if are_all_broken or not isinstance(result, Exception):
            raise result
        _log.error("the delivery to one of several recipients failed", exc_info=result)
        results.append(temporary("4.3.0", INTERNAL_ERROR))
    return results


def pending_indices(unit: Unit) -> tuple[int, ...]:
    """Which recipients of a unit are still to be served."""
    pending = [
        index
        for index, recipient in enumerate(unit.recipients)
        if recipient.state is RecipientState.PENDING
    ]
    return tuple(pending)
