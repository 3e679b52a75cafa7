"""`relevo hook test` at the stages that are asked with a context alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relevo.cli.hook_trial import Trial, WatchingCaller, is_from_local_domain, verdict_text
from relevo.hooks.contract import Client, Stage
from relevo.hooks.contract.contexts import (
    AttemptContext,
    AuthContext,
    ConnectContext,
    DsnContext,
    EhloContext,
    MailContext,
    RcptContext,
    TriedRecipient,
)
from relevo.hooks.stages import StageHooks
from relevo.mail import parse_address
from relevo.queue.ids import new_id

if TYPE_CHECKING:
    from relevo.cli.hook_trial import Facts
    from relevo.config import Config
    from relevo.hooks.contract import StageContext
    from relevo.hooks.host import PoolSockets
    from relevo.hooks.stages import StageOutcome

_ACCEPTED = {
    Stage.CONNECT: "220, the greeting",
    Stage.EHLO: "250, and the extensions",
    Stage.AUTH: "235 2.7.0 Logged in",
    Stage.MAIL: "250 2.1.0 Sender OK",
    Stage.RCPT: "250 2.1.5 Recipient OK",
    Stage.ROUTE: "the attempt goes by the route",
    Stage.BEFORE_ATTEMPT: "the attempt is made",
    Stage.DELIVERED: "none, delivery is over",
    Stage.DEFERRED: "none, the recipients are tried again",
    Stage.FAILED: "none, the recipients are given up",
    Stage.DSN: "the sender is told",
}
_SAMPLES = {
    Stage.DELIVERED: ("2.0.0", ""),
    Stage.DEFERRED: ("4.4.1", "connection refused"),
    Stage.FAILED: ("5.1.1", "no such user"),
    Stage.DSN: ("5.1.1", "no such user"),
}


async def try_stage(config: Config, sockets: PoolSockets, stage: Stage, facts: Facts) -> Trial:
    """Ask the declared hooks of a stage about the facts."""
    caller = WatchingCaller(config, sockets, facts.variables)
    outcome = await StageHooks(caller).ask(_context(config, stage, facts))
    verdicts = list(map(verdict_text, outcome.records))
    return Trial(caller.seen, verdicts, _reply(stage, outcome), is_positive=outcome.refusal is None)


def _reply(stage: Stage, outcome: StageOutcome) -> str:
    """What the client would hear, or what would become of the attempt."""
    refusal = outcome.refusal
    if outcome.is_dropped:
        return "the sender is not told"
    if refusal is None:
        change = outcome.changes.summary()
        return _ACCEPTED[stage] + (f" ({change})" if change else "")
    if stage in {Stage.ROUTE, Stage.BEFORE_ATTEMPT}:
        fate = "the recipients are given up" if refusal.is_permanent else "tried again later"
        return f"{fate}: {refusal.enhanced} {refusal.text}"
    enhanced = "" if stage is Stage.EHLO else f"{refusal.enhanced} "
    return f"{refusal.code} {enhanced}{refusal.text}"


def _context(config: Config, stage: Stage, facts: Facts) -> StageContext:
    sender = parse_address(facts.sender.strip("<>"))
    forward_path = facts.recipients[-1]
    listener = "submission" if facts.auth else "SMTP"
    client = Client.of(facts.client, "" if stage is Stage.CONNECT else facts.hello)
    match stage:
        case Stage.CONNECT:
            return ConnectContext(client=client, listener=listener, tags=facts.tags)
        case Stage.EHLO:
            return EhloContext(
                client=client, listener=listener, verb="EHLO", tls=facts.tls, tags=facts.tags
            )
        case Stage.AUTH:
            user = facts.auth or forward_path
            return AuthContext(
                client=client, listener="submission", user=user, tls=facts.tls, tags=facts.tags
            )
        case Stage.MAIL:
            return MailContext(
                client=client,
                listener=listener,
                tls=facts.tls,
                auth=facts.auth,
                reverse_path=sender.plain,
                spf_result=facts.spf,
                is_from_local_domain=is_from_local_domain(config, sender),
                tags=facts.tags,
            )
        case Stage.RCPT:
            return RcptContext(
                client=client,
                listener=listener,
                tls=facts.tls,
                auth=facts.auth,
                reverse_path=sender.plain,
                forward_path=forward_path,
                forward_paths=facts.recipients[:-1],
                is_local=is_from_local_domain(config, parse_address(forward_path)),
                spf_result=facts.spf,
                is_from_local_domain=is_from_local_domain(config, sender),
                tags=facts.tags,
            )
        case _:
            return _delivery_context(stage, facts, sender.plain)


def _delivery_context(stage: Stage, facts: Facts, sender: str) -> AttemptContext | DsnContext:
    status, detail = _SAMPLES.get(stage, ("", ""))
    recipients = tuple(
        TriedRecipient(recipient, "mail", recipient, status, detail)
        for recipient in facts.recipients
    )
    if stage is Stage.DSN:
        return DsnContext(
            message_id=new_id(),
            dsn_id=new_id(),
            recipient=sender,
            about=recipients,
            auth=facts.auth,
            tags=facts.tags,
        )
    return AttemptContext(
        stage=stage.value,
        message_id=new_id(),
        reverse_path=sender,
        route=facts.route,
        recipients=recipients,
        auth=facts.auth,
        size=len(facts.message or b""),
        next_in=600.0 if stage is Stage.DEFERRED else 0.0,
        tags=facts.tags,
    )
