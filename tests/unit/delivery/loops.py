"""Running coroutines in tests, with a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Runner:
    """Runs a coroutine on a fresh loop and fails when it takes too long."""

    make_loop: Callable[[], asyncio.AbstractEventLoop]

    def __call__(self, coroutine: Coroutine[Any, Any, T], timeout_s: float = 20) -> T:
        async def bounded() -> T:
            async with asyncio.timeout(timeout_s):
                return await coroutine

        with asyncio.Runner(loop_factory=self.make_loop) as runner:
            return runner.run(bounded())
