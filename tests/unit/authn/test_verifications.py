"""Checks in threads, a bounded number at once."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import pytest

from relevo.authn.verifications import TooManyPending, Verifications


def test_the_result_comes_from_another_thread() -> None:
    async def ask() -> None:
        verifications = Verifications(1)
        assert await verifications.run(threading.get_ident) != threading.get_ident()
        verifications.close()

    asyncio.run(ask())


def test_threads_are_made_at_the_first_check() -> None:
    before = threading.active_count()
    verifications = Verifications(1)
    assert threading.active_count() == before
    verifications.close()


def test_more_than_allowed_are_refused_at_once_until_one_has_finished() -> None:
    async def ask() -> None:
        verifications = Verifications(2)
        go_on = threading.Event()
        wait = partial(go_on.wait, 5)
        running = [asyncio.create_task(verifications.run(wait)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(TooManyPending):
            async with asyncio.timeout(1):
                await verifications.run(wait)
        go_on.set()
        await asyncio.gather(*running)
        assert await verifications.run(lambda: 7) == 7
        verifications.close()

    asyncio.run(ask())


def test_a_cancelled_caller_keeps_its_slot_until_the_thread_is_done() -> None:
    async def ask() -> None:
        verifications = Verifications(1)
        started, go_on, done = threading.Event(), threading.Event(), threading.Event()

        def work() -> None:
            started.set()
            go_on.wait()
            done.set()

        task = asyncio.create_task(verifications.run(work))
        await asyncio.to_thread(started.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(TooManyPending):
            await verifications.run(lambda: 7)
        go_on.set()
        await asyncio.to_thread(done.wait)
        verifications.close()

    asyncio.run(ask())


def test_an_error_frees_the_slot_and_is_raised() -> None:
    async def ask() -> None:
        verifications = Verifications(1)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                await verifications.run(lambda: 1 // 0)
        verifications.close()

    asyncio.run(ask())
