"""The table of states, and the page made from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from relevo.smtp.states import IN_TRANSACTION, NEXT, READS_COMMANDS, State, mermaid, reference_page

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "smtp-states.md"


def test_the_reference_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference_page(), (
        "write relevo.smtp.states.reference_page() to docs/reference/smtp-states.md"
    )


def test_each_state_has_a_row() -> None:
    assert set(NEXT) == set(State)


def test_each_state_can_be_reached() -> None:
    reached = {State.START, State.CLOSED}
    frontier = [State.START]
    while frontier:
        new = set(NEXT[frontier.pop()].values()) - reached
        reached |= new
        frontier += new
    assert reached == set(State)


@pytest.mark.parametrize("state", sorted(IN_TRANSACTION, key=str))
def test_a_transaction_can_be_left(state: State) -> None:
    assert State.READY in NEXT[state].values()


def test_the_diagram_draws_each_move_once() -> None:
    arrows = [line for line in mermaid().splitlines() if "-->" in line]
    pairs = {(state, target) for state, moves in NEXT.items() for target in moves.values()}
    assert len(arrows) == len(set(arrows)) == len(pairs) + len(READS_COMMANDS) + 2
    assert "    rcpt --> data: DATA" in arrows
