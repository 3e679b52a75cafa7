"""The comparison of what was promised for another server and what that server took."""

from __future__ import annotations

from fault.load.ledger import Ledger
from fault.outbound.deliveries import compare_deliveries
from fault.outbound.recorder import Taken


def test_the_comparison_sees_losses_and_needless_repeats() -> None:
    ledger = Ledger(accepted={"a": "n", "b": "n", "c": "n", "d": "n"})
    taken = {
        "a": [Taken(10, "a", "n")],
        "b": [Taken(10, "b", "n"), Taken(12, "b", "n")],
        "c": [Taken(20, "c", "n"), Taken(22, "c", "n")],
    }
    found = compare_deliveries(ledger, taken, [11.0], {"a": 2, "b": 1, "c": 1})
    assert (found.repeated, len(found.lost)) == (1, 1)
    assert "d n: not taken" in found.lost[0]
    assert [line[:1] for line in found.unexplained] == ["a", "c"]
