"""Calling hooks from a worker: one packet out, the report back, and never an endless wait.

A call has its own socket pair for the answer; the pool's socket is shared by all workers and all
launchers, so the number of launchers is the cap over the whole server, and the kernel's queue is
the line in which calls wait. A call that nobody has taken up after `slot_timeout_s` fails as busy;
one that was taken up is waited for as long as its own deadline, which the launcher keeps.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

import msgspec

from relevo.hooks.asking import Asking, asking
from relevo.hooks.input_file import INLINE_LIMIT, memory_file
from relevo.hooks.wire import (
    MAX_PACKET,
    NOTICE_AFTER,
    STARTED,
    How,
    Report,
    Request,
    decode_report,
    encode_request,
    environment_block,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence

_GRACE = 2.0  # seconds beyond a deadline that the launcher keeps
_RETRY = 0.005  # seconds, when the pool's socket is full


class HookPool:
    """One pool as a worker sees it. `identity` is that of the settings its launchers have."""

    def __init__(self, requests: socket.socket, identity: str, *, slot_timeout_s: float) -> None:
        self._requests = requests
        self.identity = identity
        self._slot_timeout_s = slot_timeout_s
        self._asking = asking()

    async def call(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        inputs: Sequence[int | bytes],
        *,
        timeout_s: float,
        max_output: int,
        max_processes: int,
        is_v2: bool = False,
    ) -> Report:
        """Run a hook; `inputs` are stdin and, for v2, the context.

        A descriptor stays the caller's. Octets become a sealed file of the call's own; few of them
        do so at the launcher, which saves us five system calls. Raises OSError where there is no
        memory or descriptor for them.
        """
        inline, files, own = _divided(inputs)
        request = Request(
            pool=self.identity,
            words=[_octets(word) for word in words],
            environment=environment_block(environment),
            inputs=inline,
            sent=time.monotonic(),
            patience=self._slot_timeout_s,
            timeout=timeout_s,
            max_output=max_output,
            max_processes=max_processes,
            is_v2=is_v2,
        )
        try:
            packet = encode_request(request)
            if len(packet) > MAX_PACKET:
                return Report(How.NOT_STARTED, detail="its arguments and environment are too long")
            end = await self.send(packet, files)
        finally:
            for descriptor in own:
                os.close(descriptor)
        if end is None:
            return Report(How.BUSY)
        try:
            return await _Answer(end, self._asking, self._slot_timeout_s, timeout_s).wait()
        finally:
            self._asking.close(end)

    async def send(self, packet: bytes, files: list[int]) -> int | None:
        """Hand the request over; our end for the answer, None when the pool's socket stays full."""
        deadline = 0.0
        while True:
            try:
                return self._asking.send(self._requests.fileno(), packet, files)
            except (BlockingIOError, InterruptedError):
                deadline = deadline or time.monotonic() + self._slot_timeout_s
                if time.monotonic() >= deadline:
                    return None
                await asyncio.sleep(_RETRY)
            except OSError:
                return None


class _Answer:
    """Waits for the messages of one call."""

    def __init__(self, end: int, asking: Asking, slot_timeout_s: float, timeout_s: float) -> None:
        self._end = end
        self._receive = asking.receive
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._report: asyncio.Future[Report] = self._loop.create_future()
        patience = slot_timeout_s + 2 * NOTICE_AFTER
        self._timer = self._loop.call_later(patience, self._finish, Report(How.BUSY))

    async def wait(self) -> Report:
        self._loop.add_reader(self._end, self._read)
        try:
            return await self._report
        finally:
            self._loop.remove_reader(self._end)
            self._timer.cancel()

    def _read(self) -> None:
        try:
            data = self._receive(self._end)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if data == STARTED:
            self._timer.cancel()
            late = Report(How.TIMED_OUT, seconds=self._timeout_s + _GRACE)
            self._timer = self._loop.call_later(self._timeout_s + _GRACE, self._finish, late)
            return
        if not data:
            self._finish(Report(How.BROKEN))
            return
        try:
            self._finish(decode_report(data))
        except msgspec.MsgspecError as error:
            self._finish(Report(How.BROKEN, detail=f"unreadable report: {error}"))

    def _finish(self, report: Report) -> None:
        if not self._report.done():
            self._report.set_result(report)


def _divided(inputs: Sequence[int | bytes]) -> tuple[list[bytes | None], list[int], list[int]]:
    """What goes in the packet, which descriptors go with it, and which of them were made here."""
    inline: list[bytes | None] = []
    files: list[int] = []
    own: list[int] = []
    room = INLINE_LIMIT
    try:
        for each in inputs:
            if isinstance(each, int):
                inline.append(None)
                files.append(each)
            elif len(each) <= room:
                inline.append(each)
                room -= len(each)
            else:
                inline.append(None)
                own.append(memory_file(each))
                files.append(own[-1])
    except OSError:
        for descriptor in own:
            os.close(descriptor)
        raise
    return inline, files, own


def _octets(text: str) -> bytes:
    """As the system has it: UTF-8, or whatever it was; a NUL would end it early."""
    return text.encode("utf-8", "surrogateescape").replace(b"\0", b"")
