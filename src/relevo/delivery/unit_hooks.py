"""The hooks of delivery: by which route and whether an attempt is made, what came of it, its DSN.

What hooks of route, before-attempt and dsn said commits with the outcome of the attempt. Those of
delivered, deferred and failed are told after the commit, beside the lane, so that a slow one holds
up no mail and none can change an outcome; a crash between the two loses the telling. Their rows go
to the history on their own.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from relevo.delivery.attempt import Attempt, Result, pending_indices, permanent, temporary
from relevo.delivery.bounce import is_of_interest
from relevo.delivery.routing import PIPE, route_kind
from relevo.delivery.settlement import plain
from relevo.hooks.contract import Stage
from relevo.hooks.contract.contexts import AttemptContext, DsnContext, TriedRecipient
from relevo.hooks.judging import joined_tags
from relevo.queue.store import RecipientState, TargetKind, UnitResult
from relevo.value import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from relevo.delivery.bounce import Notification
    from relevo.delivery.settlement import Settled
    from relevo.hooks.contract import Refuse
    from relevo.hooks.stages import StageHooks
    from relevo.journal import Event, HookVerdict
    from relevo.queue.store import QueuedRecipient, Unit

_log = logging.getLogger(__name__)

MAX_TOLD_BESIDE = 100
"""Outcomes that hooks are being told of; beyond that, lanes wait for them."""

_OUTCOMES = {
    RecipientState.DELIVERED: Stage.DELIVERED,
    RecipientState.PENDING: Stage.DEFERRED,
    RecipientState.FAILED: Stage.FAILED,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How an attempt is made. `route`: another one; `result`: of every recipient, no attempt."""

    route: str = ""
    result: Result | None = None
    rows: tuple[HookVerdict, ...] = ()

    def applied(self, attempt: Attempt) -> Attempt:
        """The attempt by the route of the plan; the unit that is settled stays as it was."""
        if not self.route:
            return attempt
        return replace(attempt, unit=replace(attempt.unit, route=self.route), is_bound=True)


class UnitHooks:
    """Asks and tells the hooks of one worker about its units."""

    def __init__(
        self,
        hooks: StageHooks,
        *,
        record: Callable[[Event], None],
        clock: Callable[[], float],
    ) -> None:
        """`record` takes rows that commit with nothing else."""
        self._hooks = hooks
        self._record = record
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()

    async def before(self, attempt: Attempt) -> Plan:
        """Ask at route and before-attempt."""
        context = self._context(Stage.ROUTE, attempt.unit, attempt.recipients)
        route = ""
        rows: tuple[HookVerdict, ...] = ()
        if self._hooks.has(Stage.ROUTE):
            outcome = await self._hooks.ask(context)
            rows = outcome.records
            if outcome.refusal is not None:
                return Plan(result=_result(outcome.refusal), rows=rows)
            if route_kind(attempt.unit.route) != PIPE:
                route = outcome.changes.route
            tags = joined_tags(context.tags, outcome.changes.tags)
            context = replace(context, route=route or context.route, tags=tags)
        if self._hooks.has(Stage.BEFORE_ATTEMPT):
            outcome = await self._hooks.ask(replace(context, stage=Stage.BEFORE_ATTEMPT.value))
            rows += outcome.records
            if outcome.refusal is not None:
                return Plan(route, _result(outcome.refusal), rows)
        return Plan(route, rows=rows)

    async def about_dsn(
        self, unit: Unit, tried: Sequence[Settled], notification: Notification
    ) -> tuple[Notification | None, tuple[HookVerdict, ...]]:
        """The notification, or None if a hook drops it. Never raises: mail has moved already."""
        if not self._hooks.has(Stage.DSN):
            return notification, ()
        try:
            outcome = await self._hooks.ask(
                DsnContext(
                    message_id=unit.message_id,
                    dsn_id=notification.dsn.id,
                    recipient=notification.event.recipient,
                    about=tuple(_tried(each.recipient) for each in tried if is_of_interest(each)),
                    auth=unit.envelope.auth,
                    tags=unit.envelope.tags,
                )
            )
        except Exception:  # noqa: BLE001 - a bug must not repeat a delivery
            _log.exception("%s: the hooks of dsn could not be asked", unit.message_id)
            return notification, ()
        return None if outcome.is_dropped else notification, outcome.records

    async def after(self, result: UnitResult) -> None:
        """Tell of what was committed; returns at once unless much is being told."""
        if not any(map(self._hooks.has, _OUTCOMES.values())):
            return
        task = asyncio.get_running_loop().create_task(self._tell(result))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if len(self._tasks) > MAX_TOLD_BESIDE:
            await asyncio.wait([task])

    async def drain(self) -> None:
        """Until everything is told."""
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    def _outcomes(self, result: UnitResult) -> list[AttemptContext]:
        unit = result.unit
        tried = [result.recipients[index] for index in pending_indices(unit)]
        contexts = []
        for state, stage in _OUTCOMES.items():
            recipients = [recipient for recipient in tried if recipient.state is state]
            if recipients and self._hooks.has(stage):
                contexts.append(self._context(stage, unit, recipients, result.due))
        return contexts

    async def _tell(self, result: UnitResult) -> None:
        try:
            for context in self._outcomes(result):
                outcome = await self._hooks.ask(context)
                for row in outcome.records:
                    self._record(row)
        except Exception:  # noqa: BLE001 - task border: telling changes no outcome
            _log.exception("%s: hooks could not be told", result.unit.message_id)

    def _context(
        self,
        stage: Stage,
        unit: Unit,
        recipients: Sequence[QueuedRecipient],
        due: float | None = None,
    ) -> AttemptContext:
        now = self._clock()
        envelope = unit.envelope
        return AttemptContext(
            stage=stage.value,
            message_id=unit.message_id,
            reverse_path=plain(envelope.reverse_path),
            route=unit.route,
            recipients=tuple(map(_tried, recipients)),
            attempts=unit.attempts,
            age=round(max(0.0, now - unit.created), 3),
            auth=envelope.auth,
            size=unit.content.size,
            is_dsn=envelope.is_dsn,
            next_in=0.0 if due is None else round(max(0.0, due - now), 3),
            tags=envelope.tags,
        )


def _tried(recipient: QueuedRecipient) -> TriedRecipient:
    is_pipe = recipient.kind is TargetKind.PIPE
    return TriedRecipient(
        recipient.target if is_pipe else plain(recipient.target),
        recipient.kind.value,
        plain(recipient.original),
        recipient.status,
        recipient.detail,
    )


def _result(refusal: Refuse) -> Result:
    make = permanent if refusal.is_permanent else temporary
    return make(refusal.enhanced, refusal.text)
