"""Contract v2 on the wire: contexts and verdicts as JSON, with their schema.

A verdict is decoded strictly: an unknown name or a wrong type is an `InvalidVerdict`, so that a
misspelt answer is a failure of the hook that somebody sees, and never silently "accept".
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from relevo.hooks.contract import answers, contexts
from relevo.hooks.contract.stages import Stage
from relevo.hooks.contract.verdicts import Accept, InvalidVerdict, Verdict

SETTINGS_VARIABLE = "RELEVO_HOOK_SETTINGS"
"""In the environment of a hook whose declaration has a table of settings: it as a JSON object."""

encode_context = msgspec.json.Encoder().encode

TYPES: dict[Stage, tuple[type, type]] = {
    Stage.CONNECT: (contexts.ConnectContext, answers.SessionVerdict),
    Stage.EHLO: (contexts.EhloContext, answers.SessionVerdict),
    Stage.AUTH: (contexts.AuthContext, answers.SessionVerdict),
    Stage.MAIL: (contexts.MailContext, answers.MailVerdict),
    Stage.RCPT: (contexts.RcptContext, answers.RcptVerdict),
    Stage.ALIAS_EXISTS: (contexts.AliasContext, answers.AliasExistsVerdict),
    Stage.ALIAS_RESOLVE: (contexts.AliasContext, answers.AliasResolveVerdict),
    Stage.POST_DATA: (contexts.PostDataContext, answers.PostDataVerdict),
    Stage.ROUTE: (contexts.AttemptContext, answers.RouteVerdict),
    Stage.BEFORE_ATTEMPT: (contexts.AttemptContext, answers.AttemptVerdict),
    Stage.DELIVERED: (contexts.AttemptContext, answers.OutcomeVerdict),
    Stage.DEFERRED: (contexts.AttemptContext, answers.OutcomeVerdict),
    Stage.FAILED: (contexts.AttemptContext, answers.OutcomeVerdict),
    Stage.DSN: (contexts.DsnContext, answers.DsnVerdict),
}
"""What a hook of a stage is told, and what it answers."""

_ALIAS_STAGES = (Stage.ALIAS_EXISTS, Stage.ALIAS_RESOLVE)
_decoders: dict[Stage, msgspec.json.Decoder[answers.StageVerdict]] = {
    stage: msgspec.json.Decoder(verdict)
    for stage, (_, verdict) in TYPES.items()
    if stage not in _ALIAS_STAGES
}
_resolve = msgspec.json.Decoder(answers.AliasResolveVerdict)
_exists = msgspec.json.Decoder(answers.AliasExistsVerdict)
Answer = TypeVar("Answer")


def _decode(decoder: msgspec.json.Decoder[Answer], data: bytes) -> Answer:
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidVerdict(f"not a verdict: {error}") from error


def read_verdict(stage: Stage, data: bytes) -> Verdict:
    """The verdict that a hook of any stage but the alias ones wrote; nothing at all is accept.

    Raises InvalidVerdict.
    """
    if not data or data == b"{}" or not data.strip():
        return Accept()
    return _decode(_decoders[stage], data).value(stage)


def alias_resolve_verdict(data: bytes) -> tuple[str, ...]:
    """Targets as texts. Raises InvalidVerdict."""
    if not data.strip():
        return ()
    return tuple(_decode(_resolve, data).targets)


def alias_exists_verdict(data: bytes) -> bool:
    """Raises InvalidVerdict."""
    if not data.strip():
        return False
    return _decode(_exists, data).exists


def schemas() -> dict[str, Any]:
    """JSON schema (2020-12) of every context and verdict, by name."""
    types = dict.fromkeys(each for pair in TYPES.values() for each in pair)
    _, components = msgspec.json.schema_components(types, ref_template="#/$defs/{name}")
    for schema in components.values():
        schema["description"] = " ".join(schema["description"].split())
    return dict(components)
