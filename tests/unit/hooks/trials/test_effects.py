"""Effects of verdicts: the same mail is equal, however it was asked for, and every other is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relevo.hooks.contract import Accept, Changes, Discard, Refuse, Verdict
from relevo.hooks.contract.verdicts import HeadEdit
from relevo.hooks.trials.effects import compared, effect_of

START = b"Subject: s\r\nX-B: 1\r\n\r\nbody\r\n"
PLAIN = Accept()


def differing(live: Verdict, other: Verdict) -> set[str]:
    found = compared(effect_of(live, START), effect_of(other, START))
    return {each.aspect for each in found.differences}


@pytest.mark.parametrize(
    ("live", "other"),
    [
        (PLAIN, Accept(Changes())),
        (Accept(Changes(remove=("X-C",))), PLAIN),
        (
            Accept(Changes(replace=(("X-B", b"X-B: 2\r\n"),))),
            Accept(Changes(head=HeadEdit(b"Subject: s\r\nX-B: 2\r\n", "how"))),
        ),
        (Refuse(554, "5.7.1", "no"), Refuse(554, "5.7.1", "no")),
    ],
)
def test_equal(live: Verdict, other: Verdict) -> None:
    assert differing(live, other) == set()


@pytest.mark.parametrize(
    ("other", "aspects"),
    [
        (Accept(Changes(add=b"X-A: 1\r\n")), {"headers"}),
        (Accept(Changes(remove=("X-B",))), {"headers"}),
        (Accept(Changes(head=HeadEdit(b"X-B: 1\r\nSubject: s\r\n", ""))), {"order of headers"}),
        (Accept(Changes(add_recipients=("a@b",))), {"recipients"}),
        (Accept(Changes(remove_recipients=("a@b",))), {"recipients"}),
        (Accept(Changes(redirect=("a@b",))), {"recipients"}),
        (Accept(Changes(reverse_path="")), {"sender"}),
        (Accept(Changes(body=b"other\r\n")), {"body"}),
        (Accept(Changes(route="mx:a.test")), {"route"}),
        (Accept(Changes(tags=("t",))), {"tags"}),
        (Accept(Changes(hold="why")), {"verdict", "reply"}),
        (Discard("why"), {"verdict", "reply", "headers"}),
        (Refuse(554, "5.7.1", "no"), {"verdict", "reply", "headers"}),
    ],
)
def test_different(other: Verdict, aspects: set[str]) -> None:
    assert differing(PLAIN, other) == aspects
    assert differing(other, PLAIN) == aspects


def test_refusals_differ_in_any_word() -> None:
    first = Refuse(554, "5.7.1", "no")
    assert differing(first, replace(first, text="No")) == {"reply"}
    assert differing(first, replace(first, enhanced="5.7.2")) == {"reply"}
    assert differing(first, Refuse(451, "4.7.1", "no")) == {"verdict", "reply"}


def test_that_one_failed_counts_and_its_words_do_not() -> None:
    one, two = effect_of(PLAIN, START, "exit status 3"), effect_of(PLAIN, START, "exit status 4")
    assert compared(one, two).is_equal
    (failure,) = compared(effect_of(PLAIN, START), one).differences
    assert (failure.aspect, failure.other) == ("failure", ("exit status 3",))


def test_what_is_shown_is_bounded() -> None:
    tags = Changes(tags=tuple(map(str, range(90))), add=b"X-Long: " + b"x" * 900 + b"\r\n")
    found = {each.aspect: each for each in compared(
        effect_of(PLAIN, START), effect_of(Accept(tags), START)
    ).differences}  # fmt: skip
    assert len(found["tags"].other) == 51
    assert found["tags"].other[-1] == "and 40 more"
    assert len(found["headers"].other[0]) < 400
    assert "sha256" in found["headers"].other[0]
