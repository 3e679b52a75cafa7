"""What was promised for another server against what that server took.

Every message that was answered 250 has to be there at least once, by the message id that the
answer named. One that is there twice was sent again: that is allowed only to a server that was
killed after the first copy had arrived and before its outcome was committed. Then a kill lies
between the two copies, and the history, which commits with the outcome, knows of one delivery
only.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import apsw

from fault.load.ledger import Ledger
from fault.load.messages import REMOTE_ADDRESS
from fault.outbound.recorder import Taken

# What a server sent before it was killed may be read after that: the last of its processes has to
# end, and on a busy machine the recorder is late.
_DYING_S = 5.0


@dataclass(slots=True)
class Deliveries:
    """The verdict on one run."""

    answered: int = 0
    taken: int = 0  # messages, each counted once
    repeated: int = 0  # copies beyond the first, explained by kills
    lost: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.answered} messages answered 250, {self.taken} taken by the other server, "
            f"{len(self.lost)} lost, {self.repeated} sent again after a kill, "
            f"{len(self.unexplained)} unexplained"
        )

    def require_nothing_lost(self) -> None:
        bad = [*self.lost, *self.unexplained]
        assert not bad, f"{self}\n" + "\n".join(bad[:12])


def compare_deliveries(
    ledger: Ledger,
    taken: Mapping[str, Sequence[Taken]],
    kills: Sequence[float],
    committed: Mapping[str, int],
) -> Deliveries:
    """`committed`: deliveries that the history has, by message id."""
    found = Deliveries(answered=len(ledger.accepted), taken=len(taken))
    for message_id, name in ledger.accepted.items():
        copies = taken.get(message_id, ())
        if not copies:
            found.lost.append(f"{message_id} {name}: not taken")
        elif any(copy.name != name for copy in copies):
            found.unexplained.append(f"{message_id} {name}: another message came under this id")
    for message_id, copies in taken.items():
        if committed.get(message_id, 0) != 1:
            found.unexplained.append(
                f"{message_id}: {committed.get(message_id, 0)} deliveries committed"
            )
        for first, second in pairwise(copies):
            if any(first.at - _DYING_S <= kill <= second.at for kill in kills):
                found.repeated += 1
            else:
                found.unexplained.append(f"{message_id}: sent twice without a kill between")
    return found


def committed_deliveries(data: Path) -> Counter[str]:
    """Of the address elsewhere, by message id; of a server that is stopped."""
    found: Counter[str] = Counter()
    query = "SELECT message, data FROM event WHERE kind = 'attempted'"
    with closing(apsw.Connection(str(data / "queue.db"))) as database:
        for message_id, text in database.execute(query):
            event = json.loads(bytes(text))
            if event["target"] == REMOTE_ADDRESS and event["outcome"] == "delivered":
                found[str(message_id)] += 1
    return found
