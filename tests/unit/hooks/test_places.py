"""Places of a pool: a launcher that takes the last idle one rings."""

from __future__ import annotations

import os

from relevo.hooks.places import Place, Places


def test_a_pool_grows_to_its_size_and_no_further() -> None:
    places = Places(2)
    grows = [places.may_grow]
    assert places.claim() == 0
    grows.append(places.may_grow)  # one is idle
    places.set_busy(0, is_busy=True)
    grows.append(places.may_grow)
    assert places.claim() == 1
    places.set_busy(1, is_busy=True)
    grows.append(places.may_grow)
    assert grows == [True, False, True, False]
    assert places.claim() is None
    places.close()


def test_a_vacated_place_is_given_again() -> None:
    places = Places(2)
    assert (places.claim(), places.claim()) == (0, 1)
    places.vacate(0)
    assert places.claim() == 0
    places.close()


def test_taking_the_last_idle_place_rings() -> None:
    bell, rope = os.pipe2(os.O_NONBLOCK)
    places = Places(2)
    first = Place(places, places.claim() or 0, rope)
    first.take()
    assert os.read(bell, 10) == b"g"
    second = Place(places, places.claim() or 0, rope)
    second.take()
    try:
        rung = os.read(bell, 10)
    except BlockingIOError:
        rung = b""
    assert rung == b""  # nothing can grow
    first.free()
    assert places.has_idle
    os.close(bell)
    os.close(rope)
    places.close()
