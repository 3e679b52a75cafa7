"""What becomes of a message that is released from quarantine.

It goes on where it was set aside: its recipients are expanded anew, the hooks of post-data that it
had not behind it are asked, and what comes of that takes its place in the queue, in the transaction
that ends its wait. A crash before that transaction leaves it released, and all of this happens
again; after it, never. It then has the age of a message that has just come.

Nobody waits for an answer any more: a hook that refuses it for good puts it back into quarantine,
and has it behind itself from then on; one that fails, or wants it later, is asked again later.
No ARC seal is added: what it would say was found out at another time.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, assert_never

from relevo.delivery import ExpandedTarget, plan_units
from relevo.directory import ExpansionFailed
from relevo.hooks.contract import Accept, Changes, Discard, Refuse, Stage
from relevo.hooks.judging import joined_tags
from relevo.journal import Done, Quarantined, Released, Waiting
from relevo.mail import parse_address
from relevo.queue.quarantine import ROUTE, due_of
from relevo.queue.schedule import RetrySteps
from relevo.queue.store import NewMessage, NewUnit, UnitResult
from relevo.reception.acceptance import MessageRefused
from relevo.reception.post_data import changed_recipients, hook_address
from relevo.reception.post_data_context import recipients_of
from relevo.reception.reopened import Reopened
from relevo.smtp.events import BodyType
from relevo.value import dataclass

if TYPE_CHECKING:
    from relevo.hooks.contract import Client
    from relevo.hooks.post_data import PostDataOutcome
    from relevo.hooks.programs import Program
    from relevo.journal import Event, HookVerdict
    from relevo.mail import Address
    from relevo.queue.quarantine import Quarantine
    from relevo.queue.store import Content, Envelope, Unit
    from relevo.reception.acceptance import Expansion
    from relevo.reception.services import Services

logger = logging.getLogger("relevo.reception")


async def release(unit: Unit, services: Services) -> UnitResult:
    """What a released message becomes. Raises what is a bug, or a disk that cannot be read."""
    found = unit.envelope.quarantine
    assert found is not None
    header_size = services.config.limits.header_size
    opened = await asyncio.to_thread(Reopened.read, unit.content, header_size)
    try:
        expansion = await _expanded(unit, found, services)
        programs = [each for each in services.post_data.find() if each.name not in found.passed]
        if not programs:
            return _through(unit, _Going(unit.content, expansion, unit.envelope), (), services)
        outcome = await _asked(programs, unit, found, opened, expansion, services)
        return await _after(outcome, unit, found, opened, expansion, services)
    except ExpansionFailed as error:
        return _later(unit, f"error resolving aliases: {error}", services)
    except MessageRefused as error:
        return _later(unit, str(error), services)


@dataclass(frozen=True, slots=True)
class _Going:
    """A message that leaves the quarantine."""

    content: Content
    expansion: Expansion
    envelope: Envelope


async def _after(
    outcome: PostDataOutcome,
    unit: Unit,
    found: Quarantine,
    opened: Reopened,
    expansion: Expansion,
    services: Services,
) -> UnitResult:
    """What follows from what the hooks said. Raises MessageRefused."""
    match outcome.verdict:
        case Accept(changes):
            content = opened.with_start(outcome.start, is_all=changes.body is not None)
            envelope = _changed_envelope(unit.envelope, changes)
            if changes.hold:
                envelope = replace(envelope, quarantine=_wanted_again(found, changes, outcome))
                return _back(unit, envelope, content, outcome.records)
            limit = services.config.limits.expanded_recipients
            expansion = await changed_recipients(expansion, changes, services.directory(), limit)
            return _through(unit, _Going(content, expansion, envelope), outcome.records, services)
        case Discard():
            return _gone(unit, outcome.records)
        case Refuse(code, enhanced, text):
            said = f"{code} {enhanced} {text}"
            if not outcome.verdict.is_permanent:
                return _later(unit, said, services, outcome.records)
            refused = _refused(found, outcome, f"refused at its release: {said}")
            envelope = replace(unit.envelope, quarantine=refused)
            return _back(unit, envelope, unit.content, outcome.records)
        case _:
            assert_never(outcome.verdict)


async def _expanded(unit: Unit, found: Quarantine, services: Services) -> Expansion:
    """Where it goes now, with what the hooks behind it wanted. Raises ExpansionFailed."""
    directory = services.directory()
    hooks = directory.asked_once()
    limit = services.config.limits.expanded_recipients
    expansion: Expansion = []
    for each in unit.recipients:
        original = parse_address(each.original)
        for target in await directory.expand(parse_address(each.target), hooks):
            expansion.append(ExpandedTarget(target, original, each.notify, each.orcpt))
        if len(expansion) > limit:
            raise ExpansionFailed(f"more than {limit} recipients after expansion")
    wanted = Changes(
        add_recipients=found.add_recipients,
        remove_recipients=found.remove_recipients,
        redirect=found.redirect,
    )
    return await changed_recipients(expansion, wanted, directory, limit)


async def _asked(
    programs: list[Program],
    unit: Unit,
    found: Quarantine,
    opened: Reopened,
    expansion: Expansion,
    services: Services,
) -> PostDataOutcome:
    context = replace(
        found.context,
        attempt=unit.attempts + 1,
        reverse_path=_sender(unit.envelope).plain,
        recipients=recipients_of(expansion),
        tags=unit.envelope.tags,
        size=unit.content.size,
    )
    hello = _hello_name(context.client)
    return await services.post_data.ask(programs, context, opened.message(), raw_hello=hello)


def _hello_name(client: Client) -> str:
    """As it was read from the connection."""
    if not client.hello_name_b64:
        return client.hello_name
    return base64.b64decode(client.hello_name_b64).decode("utf-8", "surrogateescape")


def _sender(envelope: Envelope) -> Address:
    return parse_address(envelope.reverse_path)


def _changed_envelope(envelope: Envelope, changes: Changes) -> Envelope:
    """Raises MessageRefused."""
    envelope = replace(envelope, tags=joined_tags(envelope.tags, changes.tags))
    if changes.reverse_path is not None:
        envelope = replace(envelope, reverse_path=str(hook_address(changes.reverse_path)))
    binary = BodyType.BINARY_MIME.value
    if changes.body is not None and not changes.body.isascii() and envelope.body != binary:
        envelope = replace(envelope, body=BodyType.EIGHT_BIT_MIME.value)
    return envelope


def _wanted_again(found: Quarantine, changes: Changes, outcome: PostDataOutcome) -> Quarantine:
    """Another hook wants it in quarantine."""
    return replace(
        found,
        stage=Stage.POST_DATA.value,
        by=outcome.passed[-1],
        reason=changes.hold,
        passed=found.passed + outcome.passed,
        add_recipients=found.add_recipients + changes.add_recipients,
        remove_recipients=found.remove_recipients + changes.remove_recipients,
        redirect=changes.redirect or found.redirect,
    )


def _refused(found: Quarantine, outcome: PostDataOutcome, reason: str) -> Quarantine:
    """What the hooks before it changed is not there: they are asked again."""
    by = outcome.records[-1].hook
    stage = Stage.POST_DATA.value
    return replace(found, stage=stage, by=by, reason=reason, passed=(*found.passed, by))


# -- outcomes


def _through(
    unit: Unit, going: _Going, rows: tuple[HookVerdict, ...], services: Services
) -> UnitResult:
    """Into the queue."""
    if not going.expansion:
        return _gone(unit, rows)
    now = time.time()
    envelope = replace(going.envelope, quarantine=None)
    if envelope.wishes is not None:  # its times count from now on; nobody waits for a date
        envelope = replace(envelope, wishes=replace(envelope.wishes, hold=0.0))
    units = plan_units(
        going.expansion,
        is_local=services.directory().is_local,
        now=now,
        route_of=services.routes.for_sender(envelope.reverse_path),
        rewrite=services.forwarding.for_sender(_sender(envelope), envelope.auth),
    )
    targets = tuple(each.target for of_unit in units for each in of_unit.recipients)
    new = _replacement(unit, now, envelope, going.content, units)
    return UnitResult(
        unit, unit.recipients, None, (*rows, Released(now, unit.message_id, targets)), (new,)
    )


def _replacement(
    unit: Unit, created: float, envelope: Envelope, content: Content, units: tuple[NewUnit, ...]
) -> NewMessage:
    """Of the same id; what is said of the unit that goes is never taken for one of its own."""
    return NewMessage(
        unit.message_id, created, envelope, content, units, first_number=unit.number + 1
    )


def _back(
    unit: Unit, envelope: Envelope, content: Content, rows: tuple[HookVerdict, ...]
) -> UnitResult:
    """Into quarantine again."""
    found = envelope.quarantine
    assert found is not None
    units = (NewUnit(ROUTE, unit.recipients, due_of(found.since)),)
    event = Quarantined(time.time(), unit.message_id, found.stage, found.by, found.reason)
    new = _replacement(unit, unit.created, envelope, content, units)
    return UnitResult(unit, unit.recipients, None, (*rows, event), (new,))


def _gone(unit: Unit, rows: tuple[HookVerdict, ...]) -> UnitResult:
    """Nothing comes of it: a hook dropped it, or took every recipient away."""
    now = time.time()
    done = Done(now, unit.message_id, _sender(unit.envelope).plain)
    events: tuple[Event, ...] = (*rows, Released(now, unit.message_id, ()), done)
    return UnitResult(unit, unit.recipients, None, events)


def _later(
    unit: Unit, why: str, services: Services, rows: tuple[HookVerdict, ...] = ()
) -> UnitResult:
    """Released it stays; this is tried again."""
    now = time.time()
    due = RetrySteps.parse(services.config.queue.retry).next_try(unit.created, now)
    logger.warning("%s: cannot leave the quarantine now: %s", unit.message_id, why)
    recipients = tuple(replace(each, detail=why) for each in unit.recipients)
    waiting = Waiting(now, unit.message_id, _sender(unit.envelope).plain, due - now)
    return UnitResult(unit, recipients, due, (*rows, waiting))
