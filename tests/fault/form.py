"""Short or full: how long the suites run. `make faults` sets RELEVO_FAULTS=full."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How much is done; counts decide, never the time."""

    timeout_s: int  # for a test that hangs
    kills: int
    kills_a_round: int  # then everything is delivered and compared
    least_rate: float  # messages/s just before a kill for it to count; 0: any
    outbound_rounds: int  # of mail that leaves for another server, for each kind of it
    outbound_kills: int  # in a round
    hook_kills: int  # while hooks say what is to be done, and again while that is released
    recordings: int  # servers recorded under load
    cuts: int  # positions in each recording, each replayed in every mode
    early_cuts: int  # more positions, before the first 250
    cut_messages: int
    reloads: int  # under load, half of them by signal
    certificates: int  # put in the place of another under load
    restarts: int
    messages: int  # for what must not grow


SHORT = Form(
    timeout_s=600,
    kills=20,
    kills_a_round=20,
    least_rate=0.0,
    outbound_rounds=1,
    outbound_kills=4,
    hook_kills=3,
    recordings=1,
    cuts=2,
    early_cuts=1,
    cut_messages=1000,
    reloads=20,
    certificates=5,
    restarts=5,
    messages=4000,
)
FULL = Form(
    timeout_s=4 * 3600,
    kills=500,
    kills_a_round=25,
    least_rate=500.0,
    outbound_rounds=8,
    outbound_kills=25,
    hook_kills=60,
    recordings=4,
    cuts=8,
    early_cuts=2,
    cut_messages=2500,
    reloads=100,
    certificates=20,
    restarts=25,
    messages=20_000,
)

FORM = FULL if os.environ.get("RELEVO_FAULTS") == "full" else SHORT
LEAST_UNFINISHED = 100  # units in the queue for a kill to count
