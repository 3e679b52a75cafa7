"""What a sender wishes, said to the next server."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from relevo.queue.store import Unit, Wishes
from relevo.queue.transfer import FileContent
from unit.delivery.loops import Runner
from unit.outbound.test_letter import TEXT, letter, refused, unit


def wishing(wishes: Wishes) -> Unit:
    """A message that came just now."""
    plain = unit()
    return replace(plain, created=time.time(), envelope=replace(plain.envelope, wishes=wishes))


@pytest.mark.parametrize("returns", [False, True])
def test_the_time_that_is_left_is_passed_on(run: Runner, returns: bool) -> None:
    made = letter(run, wishing(Wishes(100.0, returns, traces=True)), {"DELIVERBY": "50"})
    assert made.outgoing is not None
    by = made.outgoing.parameters.wishes.deliver_by
    assert by is not None
    assert 95 <= by.seconds <= 100
    assert (by.returns, by.traces) == (returns, True)


def test_a_server_that_needs_more_time_does_not_get_what_is_to_come_back(run: Runner) -> None:
    assert refused(letter(run, wishing(Wishes(100.0, returns=True)), {"DELIVERBY": "101"})) == [
        "5.4.7"
    ]
    assert refused(letter(run, wishing(Wishes(0.5, returns=True)), {"DELIVERBY": ""})) == ["5.4.7"]


def test_a_time_that_is_over_is_passed_on_where_only_a_word_is_wanted(run: Runner) -> None:
    made = letter(run, wishing(Wishes(-10.0)), {"DELIVERBY": "50"})
    assert made.outgoing is not None
    by = made.outgoing.parameters.wishes.deliver_by
    assert by is not None
    assert -12 <= by.seconds <= -10


@pytest.mark.parametrize("extensions", [{}, {"MT-PRIORITY": ""}])
@pytest.mark.parametrize("is_on_disk", [False, True])
def test_a_priority_is_said_in_mail_or_in_the_message(
    run: Runner, tmp_path: Path, extensions: Mapping[str, str], is_on_disk: bool
) -> None:
    message = wishing(Wishes(priority=-3))
    if is_on_disk:
        path = tmp_path / "content"
        path.write_bytes(TEXT)
        message = replace(message, content=FileContent(path, len(TEXT)))
    made = letter(run, message, dict(extensions) | {"8BITMIME": ""})
    assert made.outgoing is not None
    field = b"" if extensions else b"MT-Priority: -3\r\n"
    assert b"".join(made.outgoing.body) == field + TEXT
    assert made.outgoing.parameters.size == len(field + TEXT)
    assert made.outgoing.parameters.wishes.priority == -3


def test_the_hold_is_over_here(run: Runner) -> None:
    made = letter(run, wishing(Wishes(hold=60.0)), {"FUTURERELEASE": "99 2030-01-01T00:00:00Z"})
    assert made.outgoing is not None
    assert made.outgoing.parameters.wishes.hold_for is None
