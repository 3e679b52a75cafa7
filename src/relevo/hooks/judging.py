"""From the end of a call to a verdict, and to the record that says why.

The same for every stage: what went wrong is what `on_error` of the hook says, and is counted.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, assert_never

from relevo.hooks import contract_v1
from relevo.hooks.contract import (
    Accept,
    Changes,
    Discard,
    InvalidVerdict,
    OnError,
    Refuse,
    Stage,
    Verdict,
)
from relevo.hooks.contract.answers import refusal
from relevo.hooks.contract.json_form import read_verdict
from relevo.hooks.programs import Form
from relevo.hooks.services.pool import Judged
from relevo.hooks.statistics import HookOutcome
from relevo.journal.events import HookVerdict

if TYPE_CHECKING:
    from relevo.hooks.caller import Called
    from relevo.hooks.programs import Program

logger = logging.getLogger("relevo.hooks")

MAX_TAGS = 100
"""Of a message; what hooks give beyond that is left out."""

_IRREVOCABLE = frozenset({Stage.DELIVERED, Stage.DEFERRED, Stage.FAILED, Stage.DSN})
_SHOWN_ERRORS = 2000  # octets of stderr in the history


def judge(called: Called, stage: Stage) -> tuple[Verdict, str]:
    """The verdict, and in words what is wrong with the hook, if anything."""
    program, report = called.program, called.report
    if isinstance(report, Judged):
        return report.verdict, ""
    if not called.has_ended_by_itself:
        return on_failure(program, stage, report.output), report.describe()
    if program.form is Form.V1:
        try:
            return contract_v1.post_data_verdict(report.status, report.output), ""
        except InvalidVerdict as error:
            logger.warning("%s: output ignored: %s", program.name, error)
            return Accept(), f"output ignored: {error}"
    if report.status != 0:
        return on_failure(program, stage), report.describe()
    try:
        return read_verdict(stage, report.output), ""
    except InvalidVerdict as error:
        logger.warning("%s: %s", program.name, error)
        return on_failure(program, stage), str(error)


def on_failure(program: Program, stage: Stage, output: bytes = b"") -> Verdict:
    """What it means that the hook failed; `output`: what one with contract v1 had printed.

    Where mail has moved already, or a sender is to be told, it means nothing.
    """
    if stage in _IRREVOCABLE:
        return Accept()
    text = contract_v1.last_line(output) if program.form is Form.V1 else ""
    match program.on_error:
        case OnError.ACCEPT:
            return Accept()
        case OnError.TEMPFAIL if text:
            return contract_v1.refusal(output, is_permanent=False)
        case OnError.TEMPFAIL:
            return refusal(stage, is_permanent=False)
        case OnError.REJECT:
            return refusal(stage, is_permanent=True)


def outcome_of(called: Called, verdict: Verdict, reason: str) -> HookOutcome:
    """How the call is counted."""
    if reason:
        is_accepted = called.has_ended_by_itself and isinstance(verdict, Accept)
        return HookOutcome.BAD_OUTPUT if is_accepted else HookOutcome.FAILED
    if isinstance(verdict, Refuse):
        return HookOutcome.REJECTED if verdict.is_permanent else HookOutcome.TEMPFAILED
    return HookOutcome.ACCEPTED


def joined_tags(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    """Both, each once, in their order; bounded."""
    if not second:
        return first
    return tuple(dict.fromkeys(first + second))[:MAX_TAGS]


def joined(first: Changes, second: Changes) -> Changes:
    """What both want together, of what is not in the message's octets."""
    if second.is_none:
        return first
    return Changes(
        add=second.add + first.add,
        add_recipients=first.add_recipients + second.add_recipients,
        remove_recipients=first.remove_recipients + second.remove_recipients,
        redirect=second.redirect or first.redirect,
        reverse_path=first.reverse_path if second.reverse_path is None else second.reverse_path,
        body=first.body if second.body is None else second.body,
        route=second.route or first.route,
        hold=first.hold or second.hold,
        tags=joined_tags(first.tags, second.tags),
    )


def why_record(
    stage: Stage,
    message_id: str,
    program: Program,
    called: Called | None,
    verdict: Verdict,
    reason: str,
) -> HookVerdict:
    """The row of history; `called` is None when the call could not even be prepared."""
    change = ""
    match verdict:
        case Accept(changes):
            said = "quarantine" if changes.hold else "accept"
            change = changes.summary()
        case Refuse(code, enhanced, text):
            said = "reject" if verdict.is_permanent else "tempfail"
            reply = f"{code} {enhanced} {text}"
            reason = f"{reason}; {reply}" if reason else reply
        case Discard(text):
            said = "drop" if stage is Stage.DSN else "discard"
            reason = reason or text
        case _:
            assert_never(verdict)
    errors = called.report.errors if called is not None else b""
    return HookVerdict(
        time=time.time(),
        message_id=message_id,
        stage=stage.value,
        hook=program.name,
        version=called.version if called is not None else "",
        verdict=said,
        change=change,
        reason=reason,
        stderr=errors[:_SHOWN_ERRORS].decode("utf-8", "replace").strip(),
        seconds=round(called.report.seconds, 6) if called is not None else 0.0,
    )
