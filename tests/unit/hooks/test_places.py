"""Places of a pool: a launcher that takes the last idle one rings."""

from __future__ import annotations

import os

from relevo.hooks.places import Place, Places


def test_a_pool_of_prompt_calls_stays_small() -> None:
    places = Places(4, few=2)
    grows = [places.may_grow]
    for number in range(2):
        assert places.claim() == number
        grows.append(places.may_grow)  # it is idle
        places.set_busy(number)
        grows.append(places.may_grow)
    assert grows == [True, False, True, False, False]
    places.close()


def test_a_pool_of_long_calls_grows_to_its_size_and_no_further() -> None:
    places = Places(3, few=1)
    grows = []
    for number in range(3):
        assert places.claim() == number
        places.set_busy(number)
        grows.append(places.may_grow)
        places.set_busy(number, is_long=True)
        grows.append(places.may_grow)
    assert grows == [False, True, False, True, False, False]
    assert places.claim() is None
    places.close()


def test_a_vacated_place_is_given_again() -> None:
    places = Places(2)
    assert (places.claim(), places.claim()) == (0, 1)
    places.vacate(0)
    assert places.claim() == 0
    places.close()


def test_the_host_is_rung_when_another_launcher_is_of_use() -> None:
    bell, rope = os.pipe2(os.O_NONBLOCK)
    places = Places(2, few=1)
    first = Place(places, places.claim() or 0, rope)
    first.take()
    assert rings(bell) == 0  # a prompt call is about to end
    first.lengthen()
    assert rings(bell) == 1
    second = Place(places, places.claim() or 0, rope)
    second.take()
    second.lengthen()
    assert rings(bell) == 0  # nothing can grow
    first.free()
    assert places.has_idle
    assert first.is_one_of_few
    assert not second.is_one_of_few
    os.close(bell)
    os.close(rope)
    places.close()


def rings(bell: int) -> int:
    try:
        return len(os.read(bell, 10))
    except BlockingIOError:
        return 0
