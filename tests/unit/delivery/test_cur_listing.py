"""cur/ is listed once for many repeats, and anew when anything could have changed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relevo.delivery.cur_listing import CurListings

CREATED = 1_800_000_000
NAME = f"{CREATED}.m1_0_0.mx.test"


class Cur:
    """A directory whose last change is long ago, and how often it was listed."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        self.listed = 0
        self._descriptor = os.open(path, os.O_RDONLY)
        self._age = 1000
        real = os.scandir

        def scandir(target: Any) -> Any:
            self.listed += 1
            return real(target)

        monkeypatch.setattr(os, "scandir", scandir)
        self.rest()

    def put(self, name: str) -> None:
        (self.path / name).touch()
        self.rest()

    def rest(self) -> None:
        """Time passes; each change has a time of its own."""
        self._age -= 1
        then = time.time() - self._age
        os.utime(self.path, (then, then))

    def find(self, listings: CurListings, name: str = NAME, created: int = CREATED) -> bool:
        return listings.find(self._descriptor, name, created)

    def close(self) -> None:
        os.close(self._descriptor)


@pytest.fixture
def cur(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cur]:
    made = Cur(tmp_path, monkeypatch)
    yield made
    made.close()


@pytest.mark.parametrize("flags", ["", ":2,", ":2,RS"])
def test_a_file_is_found_whatever_its_flags(cur: Cur, flags: str) -> None:
    cur.put(NAME + flags)
    listings = CurListings()
    assert cur.find(listings)
    assert not cur.find(listings, NAME + "0")


def test_many_repeats_make_one_listing(cur: Cur) -> None:
    listings = CurListings()
    for number in range(1000):
        assert not cur.find(listings, f"{CREATED + number}.m{number}_0_0.mx.test", CREATED + number)
    assert cur.listed == 1


def test_what_a_reader_moves_there_later_is_found(cur: Cur) -> None:
    listings = CurListings()
    assert not cur.find(listings)
    cur.put(NAME + ":2,S")
    assert cur.find(listings)
    assert cur.listed == 2


def test_a_directory_that_was_changed_just_now_is_not_remembered(cur: Cur) -> None:
    listings = CurListings()
    os.utime(cur.path)
    assert not cur.find(listings)
    assert not cur.find(listings)
    assert cur.listed == 2


def test_an_older_message_makes_another_listing(cur: Cur) -> None:
    old = CREATED - 86400
    cur.put(f"{old}.m0_0_0.mx.test:2,S")
    cur.put("no-time.m0_0_0.mx.test:2,S")
    listings = CurListings()
    assert not cur.find(listings)
    assert cur.find(listings, f"{old}.m0_0_0.mx.test", old)
    assert not cur.find(listings)
    assert cur.listed == 2


def test_more_names_than_are_kept_are_listed_each_time(cur: Cur) -> None:
    for number in range(4):
        cur.put(f"{CREATED}.x{number}_0_0.mx.test")
    listings = CurListings(names=3)
    assert not cur.find(listings)
    assert cur.find(listings, f"{CREATED}.x3_0_0.mx.test")
    assert cur.listed == 2


def test_the_mailbox_not_asked_for_longest_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one = Cur(tmp_path / "one", monkeypatch)
    two = Cur(tmp_path / "two", monkeypatch)
    listings = CurListings(mailboxes=1)
    for cur in (one, two, one):
        assert not cur.find(listings)
    one.close()
    two.close()
    assert two.listed == 3
