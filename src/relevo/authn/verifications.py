"""Running password checks beside the event loop, a bounded number at once.

The threads are made at the first check, so a process that is still going to fork has none.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")

_THREADS = 2


class TooManyPending(Exception):
    """As many checks as allowed are waiting or running."""


class Verifications:
    """A small thread pool that refuses work instead of letting it pile up."""

    def __init__(self, max_pending: int) -> None:
        self._slots = threading.Semaphore(max_pending)
        self._pool: ThreadPoolExecutor | None = None

    async def run(self, work: Callable[[], Result]) -> Result:
        """The result of `work`, run in a thread. Raises TooManyPending and what `work` raises.

        A slot is taken until the thread has finished, even when the caller is cancelled.
        """
        if not self._slots.acquire(blocking=False):
            raise TooManyPending
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="authn")
        future = self._pool.submit(work)
        future.add_done_callback(self._free_slot)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Drop waiting work and end the threads once they are idle."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    def _free_slot(self, _: Future[Result]) -> None:
        self._slots.release()
