"""Results to new states and events."""

from __future__ import annotations

import pytest

from relevo.delivery.attempt import DELIVERED, Result, permanent, temporary
from relevo.delivery.settlement import Fate, Settlement, plain, postpone, settle
from relevo.journal import Outcome
from relevo.queue.store import RecipientState, Unit
from unit.delivery.samples import NOW, attempt_of, mail, make_unit, pipe

BUSY = temporary("4.2.0", "busy")
REFUSED = permanent("5.1.1", "no such user")


def settled(unit: Unit, *results: Result, is_too_old: bool = False) -> Settlement:
    return settle(
        attempt_of(unit), results, label="maildir", now=NOW, seconds=0.5, is_too_old=is_too_old
    )


@pytest.mark.parametrize(
    ("result", "is_too_old", "state", "fate", "outcome", "is_finished"),
    [
        (DELIVERED, False, RecipientState.DELIVERED, Fate.DELIVERED, Outcome.DELIVERED, True),
        (REFUSED, False, RecipientState.FAILED, Fate.FAILED, Outcome.PERMANENT, True),
        (BUSY, False, RecipientState.PENDING, Fate.WAITING, Outcome.TEMPORARY, False),
        (BUSY, True, RecipientState.FAILED, Fate.GIVEN_UP, Outcome.PERMANENT, True),
        (DELIVERED, True, RecipientState.DELIVERED, Fate.DELIVERED, Outcome.DELIVERED, True),
        (REFUSED, True, RecipientState.FAILED, Fate.FAILED, Outcome.PERMANENT, True),
    ],
)
def test_result_settles_a_recipient(
    result: Result,
    is_too_old: bool,
    state: RecipientState,
    fate: Fate,
    outcome: Outcome,
    is_finished: bool,
) -> None:
    settlement = settled(make_unit(), result, is_too_old=is_too_old)
    (recipient,) = settlement.recipients
    assert (recipient.state, recipient.detail, recipient.status) == (
        state,
        result.detail,
        result.status,
    )
    assert settlement.tried[0].fate is fate
    assert settlement.events[0].outcome is outcome
    assert settlement.is_finished is is_finished


def test_recipients_that_were_final_stay_as_they_are() -> None:
    first = settled(make_unit(mail("a@d1.test"), mail("b@d1.test")), REFUSED, BUSY)
    second = settled(make_unit(*first.recipients), DELIVERED)
    assert [recipient.state for recipient in second.recipients] == [
        RecipientState.FAILED,
        RecipientState.DELIVERED,
    ]
    assert [event.target for event in second.events] == ["b@d1.test"]
    assert second.is_finished


def test_event_tells_addresses_in_plain_form() -> None:
    unit = make_unit(mail('"a b"@d1.test', '"x y"@d1.test'), reverse_path="")
    (event,) = settled(unit, DELIVERED).events
    assert (event.reverse_path, event.target, event.original) == (
        "<>",
        "a b@d1.test",
        "x y@d1.test",
    )
    assert (event.time, event.seconds, event.route) == (NOW, 0.5, "maildir")


def test_event_of_a_pipe_tells_the_command() -> None:
    (event,) = settled(make_unit(pipe("cmd a b"), route="pipe"), DELIVERED).events
    assert event.target == "cmd a b"


def test_given_up_recipient_keeps_its_last_error() -> None:
    settlement = settled(make_unit(), BUSY, is_too_old=True)
    assert settlement.recipients[0].detail == "busy"
    assert settlement.events[0].detail == "given up, the message is too old; last error: busy"


def test_detail_is_bounded() -> None:
    settlement = settled(make_unit(), permanent("5.0.0", "x" * 100_000))
    assert len(settlement.recipients[0].detail) == 4000
    assert len(settlement.events[0].detail) == 4000


def test_as_many_results_as_recipients_are_needed() -> None:
    with pytest.raises(ValueError, match="argument 2"):
        settled(make_unit(mail("a@d1.test"), mail("b@d1.test")), DELIVERED)


def test_postponed_failures_are_temporary_and_the_rest_is_not_touched() -> None:
    unit = make_unit(mail("a@d1.test"), mail("b@d1.test"), mail("c@d1.test"))
    results = postpone(attempt_of(unit), (DELIVERED, REFUSED, BUSY), "later")
    assert results == (DELIVERED, temporary("5.1.1", "no such user (later)"), BUSY)


@pytest.mark.parametrize(
    ("address", "shown"), [("", "<>"), ("a@b.c", "a@b.c"), ('"a b"@c', "a b@c"), ('"', '"')]
)
def test_plain(address: str, shown: str) -> None:
    assert plain(address) == shown
