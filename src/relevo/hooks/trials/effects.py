"""What a verdict comes to for a message, and where those of two versions of a hook differ.

Effects are compared, not answers: one version may add a field, another replace the same one, and
the mail is the same. Pure functions.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, assert_never

from relevo.hooks.contract import Accept, Discard, Refuse
from relevo.hooks.post_data import changed_start
from relevo.mail.header_block import head_length

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relevo.hooks.contract import Verdict

_SHOWN = 300  # octets of a header field
_MAX_SHOWN = 50  # fields, addresses and tags of a difference


@dataclass(frozen=True, slots=True)
class Effect:
    """What becomes of a message, or of what was asked about.

    `headers` is the header block as it is then, b"" where there is none; `failure` says what was
    wrong with the hook, "" for nothing.
    """

    verdict: str
    reply: str = ""
    headers: bytes = b""
    recipients: tuple[str, ...] = ()  # `+a@b`, `-a@b`, `=a@b` for a redirect
    sender: str = ""
    route: str = ""
    body: str = ""
    tags: tuple[str, ...] = ()
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """One aspect in which two effects differ; of lists, what only one has."""

    aspect: str
    live: tuple[str, ...]
    other: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """Two effects side by side."""

    live: str  # in a word: "accept", "reject 554 5.7.1 no"
    other: str
    differences: tuple[Difference, ...] = field(default=())

    @property
    def is_equal(self) -> bool:
        return not self.differences


def effect_of(verdict: Verdict, start: bytes = b"", failure: str = "") -> Effect:
    """The effect on a message that begins with `start`, which holds its header block."""
    match verdict:
        case Accept(changes):
            head = changed_start(start, changes) if start else b""
            body = "" if changes.body is None else _digest(changes.body)
            sender = changes.reverse_path
            return Effect(
                verdict="quarantine" if changes.hold else "accept",
                reply=changes.hold,
                headers=head[: head_length(head)] if head else changes.add,
                recipients=(
                    *(f"+{each}" for each in changes.add_recipients),
                    *(f"-{each}" for each in changes.remove_recipients),
                    *(f"={each}" for each in changes.redirect),
                ),
                sender="" if sender is None else f"<{sender}>",
                route=changes.route,
                body=body,
                tags=changes.tags,
                failure=failure,
            )
        case Refuse(code, enhanced, text):
            said = "reject" if verdict.is_permanent else "tempfail"
            return Effect(said, f"{code} {enhanced} {text}", failure=failure)
        case Discard(text):
            return Effect("discard", text, failure=failure)
        case _:
            assert_never(verdict)


def compared(live: Effect, other: Effect) -> Compared:
    """Where they differ. That a hook fails differs from success, its words do not count."""
    found = [
        Difference(aspect, (one,), (two,))
        for aspect, one, two in (
            ("verdict", live.verdict, other.verdict),
            ("reply", live.reply, other.reply),
            ("sender", live.sender, other.sender),
            ("route", live.route, other.route),
            ("body", live.body, other.body),
        )
        if one != two
    ]
    if bool(live.failure) != bool(other.failure):
        found.append(Difference("failure", (live.failure,), (other.failure,)))
    if live.headers != other.headers:
        found += _list_difference("headers", _fields(live.headers), _fields(other.headers))
    if live.recipients != other.recipients:
        found += _list_difference("recipients", list(live.recipients), list(other.recipients))
    if live.tags != other.tags:
        found += _list_difference("tags", list(live.tags), list(other.tags))
    return Compared(_in_a_word(live), _in_a_word(other), tuple(found))


def _in_a_word(effect: Effect) -> str:
    said = f"{effect.verdict} {effect.reply}".strip()
    return f"{said} (failed: {effect.failure})" if effect.failure else said


def _list_difference(aspect: str, live: list[str], other: list[str]) -> list[Difference]:
    """What each has and the other has not; the order where that is all."""
    ours, theirs = Counter(live), Counter(other)
    only_live, only_other = ours - theirs, theirs - ours
    if only_live or only_other:
        return [Difference(aspect, _some(only_live.elements()), _some(only_other.elements()))]
    return [Difference(f"order of {aspect}", _some(live), _some(other))]


def _some(texts: Iterable[str]) -> tuple[str, ...]:
    shown = list(texts)
    if len(shown) > _MAX_SHOWN:
        shown[_MAX_SHOWN:] = [f"and {len(shown) - _MAX_SHOWN} more"]
    return tuple(shown)


def _fields(head: bytes) -> list[str]:
    """Header fields on a line each; what is long ends in a digest."""
    fields: list[bytes] = []
    for line in head.split(b"\r\n"):
        if line[:1] in {b" ", b"\t"} and fields:
            fields[-1] += line
        elif line:
            fields.append(line)
    return [_shown_field(each) for each in fields]


def _shown_field(octets: bytes) -> str:
    text = octets.decode("utf-8", "backslashreplace")
    return text if len(octets) <= _SHOWN else f"{text[:_SHOWN]}… ({_digest(octets)})"


def _digest(octets: bytes) -> str:
    return f"{len(octets)} octets, sha256 {hashlib.sha256(octets).hexdigest()[:16]}"
