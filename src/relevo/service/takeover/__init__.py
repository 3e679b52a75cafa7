"""Taking over what chasquid left in its data directory: waiting mail and security levels.

`examine` only looks, for a dry run; `take_over` does it; `take_over_at_start` is what the server
does before its first worker runs. Originals are moved into a folder beside them, and only once
everything is durable here, so an interruption at any place is made good by doing it again.
"""

from relevo.service.takeover.taking import (
    ChasquidIsRunning,
    Found,
    Takeover,
    TakeoverFailed,
    examine,
    take_over,
    take_over_at_start,
)

__all__ = [
    "ChasquidIsRunning",
    "Found",
    "Takeover",
    "TakeoverFailed",
    "examine",
    "take_over",
    "take_over_at_start",
]
