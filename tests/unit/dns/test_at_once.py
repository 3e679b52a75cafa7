"""Work that memory can answer needs no task; what waits begins anew, with the others, in time."""

from __future__ import annotations

import asyncio

import pytest

from relevo.dns.at_once import all_of, at_once, both, within


class Names:
    """Answers at once for what is known, else when told."""

    def __init__(self, *known: str) -> None:
        self.known = set(known)
        self.arrived = asyncio.Event()
        self.waiting = 0
        self.most_waiting = 0

    async def ask(self, name: str) -> str:
        if name not in self.known:
            self.waiting += 1
            self.most_waiting = max(self.waiting, self.most_waiting)
            try:
                await self.arrived.wait()
            finally:
                self.waiting -= 1
        return f"of {name}"


async def settled() -> None:
    """Let everything that is ready run."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_what_is_known_is_given_without_a_loop() -> None:
    assert at_once(Names("a").ask("a")) == "of a"


def test_what_would_wait_is_ended() -> None:
    names = Names()

    async def run() -> None:
        assert at_once(names.ask("a")) is None

    asyncio.run(run())
    assert (names.waiting, names.most_waiting) == (0, 1)


def test_errors_come_through() -> None:
    async def fail() -> str:
        raise KeyError("x")

    with pytest.raises(KeyError):
        at_once(fail())


def test_a_time_limit_within_it_is_left_to_a_task() -> None:
    names = Names()

    async def limited() -> str:
        return await within(5, lambda: names.ask("a"))

    async def run() -> str:
        assert at_once(limited()) is None
        task = asyncio.create_task(limited())
        await settled()
        names.arrived.set()
        return await task

    assert asyncio.run(run()) == "of a"


def test_the_time_limit_holds() -> None:
    async def run() -> None:
        with pytest.raises(TimeoutError):
            await within(0.01, lambda: Names().ask("a"))

    asyncio.run(run())


def test_those_that_wait_do_so_together() -> None:
    names = Names("b")

    async def run() -> None:
        task = asyncio.create_task(all_of(names.ask, "abc"))
        await settled()
        names.arrived.set()
        assert await task == {name: f"of {name}" for name in "abc"}

    asyncio.run(run())
    assert names.most_waiting == 2


@pytest.mark.parametrize("known", ["", "a", "b", "ab"])
def test_both_are_given_whoever_waits(known: str) -> None:
    names = Names(*known)

    async def run() -> None:
        task = asyncio.create_task(both(lambda: names.ask("a"), lambda: names.ask("b")))
        await settled()
        names.arrived.set()
        assert await task == ("of a", "of b")

    asyncio.run(run())
