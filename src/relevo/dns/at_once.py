"""Work that asks DNS, done at once where memory has all the answers.

Most questions are about names that were asked a moment ago. Then a coroutine never waits, and can
be run to its end without a task, a timer or a turn of the event loop: a tenth of the cost.

What is run so must not count on a task of its own: no `asyncio.timeout`, no `asyncio.gather`. It is
ended where it would wait, so that it may begin anew; questions that it asked go on, and are joined.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")
K = TypeVar("K")


def at_once(work: Coroutine[Any, Any, T]) -> T | None:
    """What `work` returns, which is not None; None: it would wait. Raises what it raises."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    work.close()
    return None


async def within(timeout_s: float, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """What `ask` gives, which is not None: at once, or within a time. Raises TimeoutError."""
    result = at_once(ask())
    if result is not None:
        return result
    await asyncio.sleep(0)  # where `at_once` runs this it ends here: a timeout needs a task
    async with asyncio.timeout(timeout_s):
        return await ask()


async def both(
    one: Callable[[], Coroutine[Any, Any, T]], other: Callable[[], Coroutine[Any, Any, K]]
) -> tuple[T, K]:
    """What the two give, neither of it None; those that wait do so together."""
    first, second = at_once(one()), at_once(other())
    if first is None and second is None:
        one_waited, other_waited = await asyncio.gather(one(), other())
        return one_waited, other_waited
    return (await one() if first is None else first, await other() if second is None else second)


async def all_of(ask: Callable[[K], Coroutine[Any, Any, T]], keys: Iterable[K]) -> dict[K, T]:
    """What `ask` gives for each key: those that wait do so together."""
    found: dict[K, T] = {}
    waiting: list[K] = []
    for key in keys:
        result = at_once(ask(key))
        if result is None:
            waiting.append(key)
        else:
            found[key] = result
    if len(waiting) == 1:
        found[waiting[0]] = await ask(waiting[0])
    elif waiting:
        found |= zip(waiting, await asyncio.gather(*map(ask, waiting)), strict=True)
    return found
