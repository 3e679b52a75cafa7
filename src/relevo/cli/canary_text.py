"""What the running server says of a canary, on one line."""

from __future__ import annotations

from typing import Any

from relevo.cli.phrases import count, moment


def canary_text(canary: dict[str, Any]) -> str:
    """From `relevo status --json`."""
    state = "asked about its share of the mail"
    if canary["returned_at"]:
        state = f"given up at {moment(canary['returned_at'])}, its hook is asked about all mail"
    return (
        f"canary {canary['hook']}: {state}; failed {canary['failures']} of "
        f"{count(canary['calls'], 'call')}, its hook {canary['live_failures']} of "
        f"{canary['live_calls']}"
    )
