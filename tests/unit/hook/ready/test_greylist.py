"""Greylisting: who waits and how long, who is known, and that the store stays small."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from relevo.hook import RcptVerdict
from relevo.hook.ready.greylist import Greylist, GreylistSettings, network_of, rcpt, shape
from relevo.hook.testing import RunHook

DAY = 86400.0
START = 1_000_000.0


@dataclass
class Asking:
    """Asks at times of the test's own."""

    list: Greylist

    def at(self, seconds: float, client: str = "192.0.2.7", sender: str = "a@r.test",
           recipient: str = "u@d1.test") -> float:  # fmt: skip
        return self.list.wait_for(client, sender, recipient, now=START + seconds)


@pytest.fixture
def chosen(tmp_path: Path) -> GreylistSettings:
    return GreylistSettings(store=str(tmp_path / "greylist.db"), known_after=2, max_entries=1000)


@pytest.fixture
def asking(chosen: GreylistSettings) -> Iterator[Asking]:
    greylist = Greylist(chosen)
    yield Asking(greylist)
    greylist.close()


def test_the_first_time_one_waits_and_then_no_more(asking: Asking) -> None:
    assert asking.at(0) == 300
    assert asking.at(100) == 200
    assert asking.at(300) == 0
    assert asking.at(301) == 0


def test_each_part_of_the_triplet_counts(asking: Asking) -> None:
    asking.at(0)
    for other in ({"client": "198.51.100.7"}, {"sender": "b@r.test"}, {"recipient": "v@d1.test"}):
        assert asking.at(400, **other) == 300


@pytest.mark.parametrize(
    ("address", "network"),
    [("192.0.2.7", "192.0.2.0/24"), ("2001:db8:1:2:3::4", "2001:db8:1:2::/64")],
)
def test_a_pool_of_servers_is_one(address: str, network: str) -> None:
    assert network_of(address, 24, 64) == network


@pytest.mark.parametrize(
    ("sender", "expected"),
    [
        ("Ann@R.test", "ann@r.test"),
        ("list+bob=d1.test@r.test", "list@r.test"),
        ("bounce-123-77@r.test", "bounce-#-#@r.test"),
        ("b.0123456789abcdef0@r.test", "b.#@r.test"),
        ("<>", "<>"),
    ],
)
def test_senders_of_lists_keep_their_shape(sender: str, expected: str) -> None:
    assert shape(sender) == expected


def test_who_came_back_often_is_known(asking: Asking) -> None:
    for sender in ("a@r.test", "b@r.test"):
        asking.at(0, sender=sender)
        assert asking.at(300, sender=sender) == 0
        asking.at(400, sender=sender)  # counts once
    assert asking.at(500, client="192.0.2.200", sender="new@r.test") == 0
    assert asking.at(500, client="198.51.100.1", sender="new@r.test") == 300


def test_what_is_old_is_new_again(asking: Asking) -> None:
    asking.at(0)
    assert asking.at(2 * DAY + 1) == 300, "who comes too late never tried again"
    assert asking.at(2 * DAY + 400) == 0
    assert asking.at(40 * DAY) == 300


def test_a_clock_that_was_set_back_does_not_shut_anybody_out(asking: Asking) -> None:
    asking.at(10 * DAY)
    assert asking.at(0) == 300
    assert asking.at(300) == 0


def test_processes_share_the_store(asking: Asking, chosen: GreylistSettings) -> None:
    asking.at(0)
    other = Greylist(chosen)
    assert Asking(other).at(300) == 0
    other.close()
    assert asking.at(301) == 0


def test_a_flood_of_triplets_keeps_the_newest(asking: Asking, chosen: GreylistSettings) -> None:
    for number in range(2500):
        asking.at(number / 1000, sender=f"{chr(97 + number % 26)}{chr(97 + number // 26)}@r.test")
    (count,) = asking.list._store.execute("SELECT count(*) FROM triplet").fetchone()
    assert count <= chosen.max_entries + 500
    assert asking.at(300, sender=f"{chr(97 + 2499 % 26)}{chr(97 + 2499 // 26)}@r.test") < 3


@pytest.mark.parametrize(
    ("changes", "settings", "verdict"),
    [
        ({}, {}, "tempfail"),
        ({"auth": "joe@x.y"}, {}, "accept"),
        ({"spf_result": "pass"}, {"pass_spf": True}, "accept"),
        ({"spf_result": "fail"}, {"pass_spf": True}, "tempfail"),
        ({}, {"pass_networks": ["2001:db8::/32", "192.0.2.0/24"]}, "accept"),
    ],
)
def test_who_is_asked_at_all(
    run_hook: RunHook, changes: dict[str, Any], settings: dict[str, object], verdict: str
) -> None:
    store = str(run_hook.folder / "greylist.db")
    said: RcptVerdict = run_hook(rcpt, settings={"store": store, **settings}, **changes)
    assert said.verdict == verdict
