"""Retries played in virtual time."""

from __future__ import annotations

from dataclasses import replace

from relevo.queue.schedule import RetrySteps
from relevo.queue.simulation import Rules, Step, play

DAY, HOUR = 86_400.0, 3_600.0
FIVE_DAYS = Rules(retry=RetrySteps(), give_up_after=5 * DAY, delay_after=4 * HOUR)


def test_five_days_end_with_giving_up_after_one_notice_of_the_delay() -> None:
    steps = list(play(FIVE_DAYS))
    assert steps[-1].step is Step.GIVEN_UP
    assert 5 * DAY <= steps[-1].age < 5 * DAY + 21 * 60
    (told,) = (step for step in steps if step.step is Step.SENDER_TOLD)
    assert 4 * HOUR <= told.age < 4 * HOUR + 21 * 60


def test_waits_are_those_of_the_schedule() -> None:
    waits = [step.wait for step in play(FIVE_DAYS, spread=0) if step.step is Step.TRY_FAILS]
    assert waits[:5] == [60, 300, 600, 1200, 1200]


def test_a_next_hop_that_answers_again_gets_the_message_at_the_next_try() -> None:
    steps = list(play(FIVE_DAYS, answers_after=100, spread=0))
    assert [step.step for step in steps] == [Step.TRY_FAILS, Step.TRY_FAILS, Step.DELIVERED]
    assert steps[-1].age == 360


def test_without_a_delay_nobody_is_told_of_it() -> None:
    rules = Rules(retry=RetrySteps(), give_up_after=DAY)
    assert all(step.step is not Step.SENDER_TOLD for step in play(rules))


def test_a_held_message_is_tried_then_and_given_up_by_its_time_since() -> None:
    steps = list(play(replace(FIVE_DAYS, hold=2 * DAY)))
    assert (steps[0].step, steps[0].age) == (Step.RELEASED, 2 * DAY)
    assert 7 * DAY <= steps[-1].age < 7 * DAY + 21 * 60


def test_what_is_to_come_back_after_its_time_does_so_to_the_second() -> None:
    steps = list(play(replace(FIVE_DAYS, deliver_by=5 * HOUR, returns=True)))
    assert (steps[-1].step, steps[-1].age) == (Step.RETURNED, 5 * HOUR)
    late = list(play(replace(FIVE_DAYS, deliver_by=5 * HOUR, returns=True), answers_after=6 * HOUR))
    assert late == steps


def test_a_sender_who_only_wants_to_know_is_told_then_and_tries_go_on() -> None:
    steps = list(play(replace(FIVE_DAYS, deliver_by=HOUR)))
    told = [step for step in steps if step.step in {Step.TIME_IS_OVER, Step.SENDER_TOLD}]
    assert [(step.step, step.age) for step in told] == [(Step.TIME_IS_OVER, HOUR)]
    assert steps[-1].step is Step.GIVEN_UP
