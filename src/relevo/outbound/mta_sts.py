"""MTA-STS policies as values: the record in DNS, the text, the hosts that it allows (RFC 8461).

Both texts are the domain's own, read with bounds; what is wrong with one is a `BadPolicy`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_TEXT: Final = 64 * 1024  # octets
MAX_AGE_S: Final = 31_557_600  # a year (§3.2)
MAX_MX: Final = 200
# sts-id = 1*32(ALPHA / DIGIT) (§3.1); fields before and after it may come with blanks
_ID: Final = re.compile(r"[ \t]*id[ \t]*=[ \t]*([A-Za-z0-9]{1,32})[ \t]*")
_VERSION: Final = re.compile(rb"v=STSv1[ \t]*;")
_FIELD: Final = re.compile(r"[ \t]*([A-Za-z0-9][A-Za-z0-9_.-]{0,31})[ \t]*:(.*)")
_NAMES: Final = frozenset({"version", "mode", "max_age", "mx"})
_PATTERN: Final = re.compile(r"(?:\*\.)?[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?\.?")


class BadPolicy(ValueError):
    """Not a policy; the text says why."""


class Mode(Enum):
    """What a sender does about hosts that the policy does not allow."""

    ENFORCE = "enforce"
    TESTING = "testing"  # report them, and send
    NONE = "none"


@dataclass(frozen=True, slots=True)
class StsPolicy:
    """A domain's policy. `mx`: host names, A-labels in lower case, `*.` for one label."""

    mode: Mode
    max_age_s: int
    mx: tuple[str, ...]
    lines: tuple[str, ...] = ()  # what was understood of it, as `name: value`

    def allows(self, host: str) -> bool:
        """Does a pattern match the host's name? (§4.1)"""
        name = host.lower().removesuffix(".")
        _, dot, parent = name.partition(".")
        return name in self.mx or (bool(dot) and f"*.{parent}" in self.mx)


def read_record(records: Iterable[bytes]) -> str | None:
    """The id in the TXT records of `_mta-sts.DOMAIN`; None: the domain has no policy (§3.1)."""
    ours = [record for record in records if _VERSION.match(record)]
    if len(ours) != 1:
        return None
    for field in ours[0].decode("ascii", "replace").split(";")[1:]:
        match = _ID.fullmatch(field)
        if match is not None:
            return match[1]
    return None


def read_policy(text: bytes) -> StsPolicy:
    """The policy in the octets of its file (§3.2). Raises BadPolicy."""
    if len(text) > MAX_TEXT:
        raise BadPolicy(f"longer than {MAX_TEXT} octets")
    first: dict[str, str] = {}
    mx: list[str] = []
    shown: list[str] = []
    for line in text.decode("utf-8", "replace").split("\n"):
        match = _FIELD.fullmatch(line.rstrip("\r"))
        if match is None or match[1] not in _NAMES:
            continue  # what is not understood is left out
        shown.append(f"{match[1]}: {match[2].strip()}")
        name, value = match[1], match[2].strip(" \t")
        if name == "mx":
            mx.append(_pattern(value))
        else:
            first.setdefault(name, value)
    if first.get("version") != "STSv1":
        raise BadPolicy("its version is not STSv1")
    try:
        mode = Mode(first.get("mode", ""))
    except ValueError:
        raise BadPolicy("its mode is none of enforce, testing, none") from None
    if not mx and mode is not Mode.NONE:
        raise BadPolicy("it names no mx")
    if len(mx) > MAX_MX:
        raise BadPolicy(f"it names more than {MAX_MX} mx")
    return StsPolicy(mode, _max_age(first.get("max_age", "")), tuple(mx), tuple(shown))


def _max_age(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < len(text) <= 10 and int(text) > 0):
        raise BadPolicy("its max_age is no number of seconds above 0")
    return min(int(text), MAX_AGE_S)


def _pattern(text: str) -> str:
    pattern = text.lower()
    if len(pattern) > 255 or not _PATTERN.fullmatch(pattern):
        raise BadPolicy("an mx is no host name")
    return pattern.removesuffix(".")
