"""What is said about the chain of custody of a message (RFC 8617 §2.3)."""

from __future__ import annotations

from enum import Enum

from relevo.value import dataclass


class ArcOutcome(Enum):
    """The values are the words of Authentication-Results and of the cv= tag."""

    NONE = "none"  # there is no chain
    PASS = "pass"  # noqa: S105 -- a result, no password
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class ArcLink:
    """What one server says that it found, from the first (instance 1) to the last."""

    instance: int
    domain: str  # of its seal: lower case, A-labels
    results: bytes  # the value of its ARC-Authentication-Results, as it came


@dataclass(frozen=True, slots=True)
class ArcResult:
    """The state of the whole chain; the links can be believed only when it is a pass.

    `is_temporary`: it is no pass because DNS could not say; such a chain is not sealed.
    `is_closed`: its last link says that it is broken; nothing may be added to it (§5.1).
    """

    outcome: ArcOutcome
    reason: str = ""
    links: tuple[ArcLink, ...] = ()
    is_temporary: bool = False
    is_closed: bool = False

    @property
    def is_pass(self) -> bool:
        return self.outcome is ArcOutcome.PASS


NO_CHAIN = ArcResult(ArcOutcome.NONE)
