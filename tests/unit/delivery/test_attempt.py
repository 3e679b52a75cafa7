"""What agents share."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from relevo.delivery.attempt import DELIVERED, Result, gather_results, pending_indices
from relevo.journal import Outcome
from relevo.queue.store import RecipientState
from unit.delivery.loops import Runner
from unit.delivery.samples import attempt_of, mail, make_unit


def test_pending_recipients_are_those_without_a_final_state() -> None:
    unit = make_unit(
        replace(mail("a@d1.test"), state=RecipientState.DELIVERED),
        mail("b@d1.test"),
        replace(mail("c@d1.test"), state=RecipientState.FAILED),
        mail("d@d1.test"),
    )
    assert pending_indices(unit) == (1, 3)
    assert [recipient.target for recipient in attempt_of(unit).recipients] == [
        "b@d1.test",
        "d@d1.test",
    ]


def test_no_delivery_still_runs_when_one_has_raised(run: Runner) -> None:
    ended: list[str] = []

    async def slow() -> Result:
        await asyncio.sleep(0.01)
        ended.append("slow")
        return DELIVERED

    async def broken() -> Result:
        raise KeyError("bug")

    async def scenario() -> None:
        first, second = await gather_results([broken(), slow()])
        assert ended == ["slow"]
        assert first.outcome is Outcome.TEMPORARY
        assert second is DELIVERED  # not again because of the other
        with pytest.raises(KeyError):
            await gather_results([broken(), broken()])

    run(scenario())


def test_results_keep_their_order(run: Runner) -> None:
    async def answer(detail: str, seconds: float) -> Result:
        await asyncio.sleep(seconds)
        return replace(DELIVERED, detail=detail)

    results = run(gather_results([answer("a", 0.01), answer("b", 0)]))
    assert [result.detail for result in results] == ["a", "b"]
