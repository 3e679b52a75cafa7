"""Shadows and canaries among the declared hooks: whether what they are compared with is there.

Names are looked up within one file; hooks in `hooks/` are known by their names alone, since they
may come and go while the server runs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from relevo.hooks.contract import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relevo.config.hook_model import DeclaredHook

Fault = tuple[str, str, str]
"""The key, what is wrong, and what to write."""

_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,4})?) ?%")
_ALIAS_STAGES = frozenset({Stage.ALIAS_EXISTS.value, Stage.ALIAS_RESOLVE.value})
_FOLDER = "hooks/"


def share_of(text: str) -> float:
    """`"10%"` as 0.1. Raises ValueError."""
    match = _PERCENT.fullmatch(text)
    share = float(match[1]) / 100 if match else -1.0
    if not 0 <= share <= 1:
        raise ValueError(f"{text!r} is no share")
    return share


def variant_faults(hook: DeclaredHook, others: list[DeclaredHook]) -> Iterator[Fault]:
    """What is wrong with a hook as a shadow or canary; `others` are those declared beside it."""
    if hook.shadow_of and not hook.shadow:
        yield "shadow_of", "it is set, and the hook is no shadow", "add shadow = true"
    if hook.shadow and hook.canary_of:
        yield "canary_of", "a shadow cannot be a canary too", "leave one of them out"
    if bool(hook.canary) != bool(hook.canary_of):
        yield "canary", "canary and canary_of need each other", 'write canary = "10%"'
    for key, text in (("canary", hook.canary), ("canary_tolerance", hook.canary_tolerance)):
        if text and not _is_share(text):
            yield key, f"{text!r} is no share", 'write for example "10%"'
    if not hook.is_variant:
        return
    if hook.stage in _ALIAS_STAGES:
        yield "stage", f"{hook.stage} has no shadows and canaries: its answers are cached", ""
    if any(hook.name == other.name for other in others):
        yield "name", f"there is another hook {hook.name!r}", "give the new version its own name"
    key = "shadow_of" if hook.shadow else "canary_of"
    named: str = getattr(hook, key)
    if named and not named.startswith(_FOLDER) and named not in _live_at(hook.stage, others):
        names = ", ".join(_live_at(hook.stage, others)) or "none is declared"
        yield key, f"no hook at {hook.stage} is called {named!r}", f"hooks there: {names}"


def _live_at(stage: str, hooks: list[DeclaredHook]) -> list[str]:
    return [hook.name for hook in hooks if hook.stage == stage and not hook.is_variant]


def _is_share(text: str) -> bool:
    try:
        share_of(text)
    except ValueError:
        return False
    return True
