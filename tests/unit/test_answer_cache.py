"""Answers kept for a short time, and questions asked once at a time."""

from __future__ import annotations

import asyncio

import pytest

from relevo.answer_cache import AnswerCache


class Asked:
    """Answers with how often it was asked, when `may_answer` is set."""

    def __init__(self) -> None:
        self.count = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.count += 1
        number = self.count
        await self.may_answer.wait()
        if self.error is not None:
            raise self.error
        return number


def test_an_answer_is_used_until_its_time_is_over() -> None:
    async def scenario() -> None:
        cache, ask = AnswerCache[int](10, lambda _: 10.0), Asked()
        assert [await cache.get("a", now, ask) for now in (0.0, 4.9)] == [1, 1]
        assert await cache.get("a", 10.0, ask) == 2

    asyncio.run(scenario())


def test_in_the_second_half_it_is_asked_anew_behind_the_answer() -> None:
    async def scenario() -> None:
        cache, ask = AnswerCache[int](10, lambda _: 10.0), Asked()
        await cache.get("a", 0.0, ask)
        assert await cache.get("a", 5.0, ask) == 1
        await asyncio.sleep(0)  # the task that asks
        assert await cache.get("a", 5.1, ask) == 2
        assert ask.count == 2

    asyncio.run(scenario())


def test_a_question_under_way_is_not_asked_again() -> None:
    async def scenario() -> None:
        cache, ask = AnswerCache[int](10, lambda _: 0.0), Asked()
        ask.may_answer.clear()
        waiting = [asyncio.create_task(cache.get("a", 0.0, ask)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()  # who stops waiting stops it for nobody
        ask.may_answer.set()
        assert await asyncio.gather(*waiting[1:]) == [1, 1]
        assert len(cache) == 0

    asyncio.run(scenario())


def test_errors_go_to_all_who_wait_and_are_not_kept() -> None:
    async def scenario() -> None:
        cache, ask = AnswerCache[int](10, lambda _: 10.0), Asked()
        ask.error = ValueError("down")
        for _ in range(2):
            with pytest.raises(ValueError, match="down"):
                await cache.get("a", 0.0, ask)
        ask.error = None
        assert await cache.get("a", 0.0, ask) == 3

    asyncio.run(scenario())


def test_the_least_recently_used_goes() -> None:
    async def scenario() -> None:
        cache, ask = AnswerCache[int](2, lambda _: 10.0), Asked()
        for key in ("a", "b", "a", "c"):
            await cache.get(key, 0.0, ask)
        assert len(cache) == 2
        assert [await cache.get(key, 0.0, ask) for key in ("a", "b")] == [1, 4]

    asyncio.run(scenario())
