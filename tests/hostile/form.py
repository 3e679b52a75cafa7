"""Short or full: how much the hostile suite sends. `make hostile` sets RELEVO_HOSTILE=full."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """Amounts, not times."""

    timeout_s: int  # for a test that hangs
    flood: int  # octets of each flood
    field: int  # octets of the giant header field
    fields: int  # header fields of one message
    connections: int  # slow ones, beside which others are greeted
    logins: int  # of a flood of them
    has_slow_message: bool  # that trickles in, which takes minutes to tell


MIB = 1024 * 1024
SHORT = Form(
    timeout_s=120,
    flood=8 * MIB,
    field=2 * MIB,
    fields=60_000,
    connections=400,
    logins=16,
    has_slow_message=False,
)
FULL = Form(
    timeout_s=3600,
    flood=100 * MIB,
    field=10 * MIB,
    fields=100_000,
    connections=10_000,
    logins=300,
    has_slow_message=True,
)
IS_FULL = os.environ.get("RELEVO_HOSTILE") == "full"
FORM = FULL if IS_FULL else SHORT
