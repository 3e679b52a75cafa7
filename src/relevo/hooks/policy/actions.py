"""What a policy server answers: an action of access(5), as a verdict.

Pure. `warn` and `info` are accept with a text for the log. What has no counterpart here (`filter`,
a class of restrictions) is an InvalidVerdict, and so what `on_error` says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from relevo.hooks.contract.answers import refusal
from relevo.hooks.contract.stages import Stage
from relevo.hooks.contract.verdicts import (
    Accept,
    Changes,
    Discard,
    InvalidVerdict,
    Refuse,
    Verdict,
    checked_fields,
    clean_text,
)

MAX_ANSWER: Final = 8 * 1024
"""Octets of an answer with its blank line."""

_CODED = re.compile(r"([45])[0-9]{2}")
_ENHANCED = re.compile(r"([45])\.[0-9]{1,3}\.[0-9]{1,3}(?=\s|$)")
_REFUSALS = {"reject": 5, "defer": 4, "defer_if_permit": 4}
_ACCEPTS = frozenset({"dunno", "ok", "permit", "defer_if_reject", "warn", "info"})


@dataclass(frozen=True, slots=True)
class Said:
    """The verdict, and a text of the server's for the log."""

    verdict: Verdict
    note: str = ""


def read_answer(stage: Stage, octets: bytes) -> Said:
    """From a whole answer. Raises InvalidVerdict."""
    try:
        lines = octets.decode().replace("\r\n", "\n").removesuffix("\n\n").split("\n")
    except UnicodeDecodeError as error:
        raise InvalidVerdict("its answer is not UTF-8") from error
    pairs = [line.partition("=") for line in lines]
    if any(not (name and equals) for name, equals, _ in pairs):
        raise InvalidVerdict("its answer has a line that is no name=value")
    actions = [value.strip() for name, _, value in pairs if name == "action"]
    if len(actions) != 1:
        raise InvalidVerdict(f"its answer has {len(actions)} actions")
    return _said(stage, actions[0])


def _said(stage: Stage, action: str) -> Said:
    word, _, text = action.partition(" ")
    word, text = word.lower(), text.strip()
    if word in _ACCEPTS:
        return Said(Accept(), clean_text(text))
    if word in _REFUSALS:
        return Said(_refused(stage, _REFUSALS[word], 0, text))
    if _CODED.fullmatch(word):
        return Said(_refused(stage, int(word[0]), int(word), text))
    if word.isascii() and word.isdecimal() and int(word[:3]) // 100 not in {4, 5}:
        return Said(Accept())  # as access(5) has it: all numerical is OK
    match word:
        case "discard":
            return Said(Discard(clean_text(text)))
        case "prepend":
            field = checked_fields(text.encode())
            if field.count(b"\r\n") != 1:
                raise InvalidVerdict("prepend without a header field")
            return Said(Accept(Changes(add=field)))
        case "redirect" if stage is Stage.RCPT and text.isprintable() and "@" in text:
            return Said(Accept(Changes(redirect=(text,))))
        case "hold":
            return Said(Accept(Changes(hold=clean_text(text) or "held by policy")))
        case _:
            shown = clean_text(word, 60)
            raise InvalidVerdict(f"its action {shown!r} is none that can be done at {stage.value}")


def _refused(stage: Stage, kind: int, code: int, text: str) -> Refuse:
    enhanced = _ENHANCED.match(text)
    if enhanced is not None:
        text = text[enhanced.end() :]
    usual = refusal(stage, is_permanent=kind == 5, text=text)
    own = enhanced[0] if enhanced is not None and int(enhanced[1]) == kind else usual.enhanced
    return Refuse(code or usual.code, own, usual.text)
