"""Answers that are used again for a short time, and questions that are asked only once at a time.

Bounded in number: the least recently used goes. An answer in the second half of its time is given
at once and asked for anew in the background, so that who is asked about often never waits. Errors
are never kept. Time is an argument, in seconds of any clock.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

Answer = TypeVar("Answer")


@dataclass(slots=True)
class _Kept(Generic[Answer]):
    answer: Answer
    refresh_at: float
    ends_at: float


class AnswerCache(Generic[Answer]):
    """Answers by key. `ttl` says how long one is kept, 0 not at all."""

    def __init__(self, size: int, ttl: Callable[[Answer], float]) -> None:
        self._size = size
        self._ttl = ttl
        self._kept: OrderedDict[Hashable, _Kept[Answer]] = OrderedDict()
        self._asking: dict[Hashable, asyncio.Task[Answer]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def kept(self, key: Hashable, now: float) -> Answer | None:
        """The answer if it is kept and young; None: `get` must be awaited."""
        kept = self._kept.get(key)
        if kept is None or now >= kept.refresh_at:
            return None
        self._kept.move_to_end(key)
        return kept.answer

    async def get(self, key: Hashable, now: float, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer, kept or asked for; what `ask` raises goes to all who wait for it."""
        kept = self._kept.get(key)
        if kept is not None and now < kept.ends_at:
            self._kept.move_to_end(key)
            if now >= kept.refresh_at and key not in self._asking:
                self._start(key, now, ask)
            return kept.answer
        task = self._asking.get(key)
        if task is None:
            task = self._start(key, now, ask)
        return await asyncio.shield(task)  # one who stops waiting does not stop it for the others

    def _start(
        self, key: Hashable, now: float, ask: Callable[[], Awaitable[Answer]]
    ) -> asyncio.Task[Answer]:
        task = asyncio.get_running_loop().create_task(self._ask(key, now, ask))
        task.add_done_callback(_retrieve)
        self._asking[key] = task
        return task

    async def _ask(self, key: Hashable, now: float, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        try:
            answer = await ask()
        finally:
            del self._asking[key]
        ttl = self._ttl(answer)
        if ttl > 0:
            self._kept[key] = _Kept(answer, now + ttl / 2, now + ttl)
            self._kept.move_to_end(key)
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
        return answer


def _retrieve(task: asyncio.Task[Answer]) -> None:
    """Nobody may be waiting: a failed refresh was logged, the kept answer ends in its own time."""
    if not task.cancelled():
        task.exception()
