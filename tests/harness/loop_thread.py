"""Servers of a test that need an event loop, run beside the test in a thread of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager

START_S = 20.0


@contextmanager
def in_thread(servers: Sequence[AbstractAsyncContextManager[object]]) -> Iterator[None]:
    """Enter all of these, on a loop of their own; leave them at the end."""
    end = asyncio.Event()
    is_ready = threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []
    failures: list[BaseException] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        async with AsyncExitStack() as stack:
            for server in servers:
                await stack.enter_async_context(server)
            is_ready.set()
            await end.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            failures.append(error)
        finally:
            is_ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert is_ready.wait(START_S), "the servers did not start"
        assert not failures, failures
        yield
    finally:
        if thread.is_alive():
            loops[0].call_soon_threadsafe(end.set)
        thread.join(START_S)
