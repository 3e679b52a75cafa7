"""What is written down of shadows and kept mail, and where: values to octets and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from relevo.hooks.contract import Accept, Discard, PostDataContext, Refuse, Stage
from relevo.hooks.contract.json_form import TYPES, encode_context
from relevo.hooks.contract.verdicts import Changes
from relevo.hooks.post_data import HookMessage
from relevo.hooks.steps import Step
from relevo.hooks.trials.effects import Compared
from relevo.hooks.trials.seen import Question, Seen
from relevo.value import dataclass

if TYPE_CHECKING:
    from pathlib import Path

    from relevo.hooks.contract import StageContext, Verdict


def kept_mail_folder(data_dir: Path) -> Path:
    """Where what hooks were asked about is kept."""
    return data_dir / "kept-mail"


def shadow_folder(data_dir: Path) -> Path:
    """Where it stands what shadows said."""
    return data_dir / "hook-shadows"


class ShadowTotals(msgspec.Struct, array_like=True, tag="totals"):
    """Calls of a shadow within a moment. `live`: what it is compared with, "" for the stage.

    `unlisted` are differences that found no room; `dropped` are calls that were not made.
    """

    hook: str
    live: str
    stage: str
    calls: int = 0
    equal: int = 0
    different: int = 0
    errors: int = 0
    dropped: int = 0
    unlisted: int = 0

    @property
    def is_nothing(self) -> bool:
        return not (self.calls or self.dropped or self.unlisted)


class ShadowDifference(msgspec.Struct, array_like=True, tag="difference"):
    """A message about which a shadow and the live hooks do not agree."""

    hook: str
    version: str
    live: str
    live_version: str
    stage: str
    message_id: str
    about: str
    compared: Compared
    seconds: float


ShadowRecord = ShadowTotals | ShadowDifference

encode_shadow = msgspec.msgpack.Encoder().encode
decode_shadow = msgspec.msgpack.Decoder(ShadowRecord).decode


class _StoredStep(msgspec.Struct, array_like=True):
    """A step; of `accept`, `refuse` and `discard` one is there."""

    place: str
    hook: str
    version: str
    failure: str
    accept: Changes | None = None
    refuse: Refuse | None = None
    discard: Discard | None = None

    def value(self) -> Step:
        verdict: Verdict = Accept(self.accept or Changes())
        if self.refuse is not None:
            verdict = self.refuse
        elif self.discard is not None:
            verdict = self.discard
        return Step(self.place, self.hook, self.version, verdict, self.failure)


class _Kept(msgspec.Struct, array_like=True):
    """What hooks were asked about. `octets`: the message; `redacted`: what of it is not there."""

    stage: str
    context: bytes  # JSON
    hello: bytes
    steps: list[_StoredStep]
    octets: bytes
    redacted: str


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Kept).decode
_contexts: dict[Stage, Callable[[bytes], Any]] = {
    stage: msgspec.json.Decoder(context).decode for stage, (context, _) in TYPES.items()
}


@dataclass(frozen=True, slots=True)
class Kept:
    """What was kept. `redacted` as in the configuration, "nothing" for all is there."""

    seen: Seen
    redacted: str


def encode_kept(seen: Seen, octets: bytes, redacted: str) -> bytes:
    """`octets`: the message, as it is to be kept."""
    question = seen.question
    return _encode(
        _Kept(
            question.stage.value,
            encode_context(question.context),
            question.raw_hello.encode("utf-8", "surrogateescape"),
            [_stored(step) for step in seen.steps],
            octets,
            redacted,
        )
    )


def decode_kept(when: float, record: bytes) -> Kept:
    """Raises msgspec.MsgspecError for what is no such record."""
    kept = _decode(record)
    stage = Stage(kept.stage)
    context: StageContext | PostDataContext = _contexts[stage](kept.context)
    message = HookMessage(kept.octets) if stage is Stage.POST_DATA else None
    hello = kept.hello.decode("utf-8", "surrogateescape")
    question = Question(stage, context, message, hello)
    return Kept(Seen(when, question, tuple(step.value() for step in kept.steps)), kept.redacted)


def _stored(step: Step) -> _StoredStep:
    stored = _StoredStep(step.place, step.hook, step.version, step.failure)
    match step.verdict:
        case Accept(changes):
            stored.accept = changes
        case Refuse():
            stored.refuse = step.verdict
        case Discard():
            stored.discard = step.verdict
    return stored
