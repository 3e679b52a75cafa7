"""The persistent processes of one hook, as a worker of the server sees them.

Each worker has processes of its own, lent by launchers: its share of `processes`, one at least. A
call goes to the one with the fewest in flight; where all are full it waits for a place as long as
any call does. A process is replaced when its program was edited.
"""

from __future__ import annotations

import array
import asyncio
import os
import socket
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from relevo.hooks.input_file import octets_of
from relevo.hooks.lent_process import LentProcess, is_lent
from relevo.hooks.wire import How, Report, Request, decode_report, encode_request, environment_block

if TYPE_CHECKING:
    from relevo.hooks.calls import HookPool

_ENDS = 3
_SPACE = socket.CMSG_SPACE(_ENDS * array.array("i").itemsize)
_PACKET = 16 * 1024
Key = tuple[tuple[str, ...], Mapping[str, str], object]


class WorkerPool:
    """Calls of one hook of the form worker or python."""

    def __init__(
        self, requests: HookPool, *, processes: int, in_flight: int, slot_timeout_s: float
    ) -> None:
        self.signature: object = None  # of the program's file, as it is now
        self._requests = requests
        self._most = processes
        self._in_flight = in_flight
        self._slot_timeout_s = slot_timeout_s
        self._processes: list[LentProcess] = []
        self._key: Key | None = None
        self._lending: asyncio.Task[None] | None = None
        self._waiting: deque[asyncio.Future[Report | None]] = deque()

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
        """Ask the hook; `inputs` are the message and the context, as in `HookPool.call`."""
        assert is_v2
        key: Key = (tuple(words), environment, self.signature)
        if key != self._key:
            self.close()
            self._key = key
        process = self._best()
        if process is None:
            try:
                async with asyncio.timeout(self._slot_timeout_s):
                    found = await self._place(key, max_processes)
            except TimeoutError:
                return Report(How.BUSY)
            if isinstance(found, Report):
                return found
            process = found
        context = octets_of(inputs[1])
        return await process.call(context, inputs[0], timeout_s=timeout_s, max_output=max_output)

    def close(self) -> None:
        """Give the processes back, once they have answered."""
        for process in [*self._processes]:
            process.retire()

    def _best(self) -> LentProcess | None:
        best, fewest = None, self._in_flight
        for process in self._processes:
            if process.is_open and process.in_flight < fewest:
                best, fewest = process, process.in_flight
        return best

    async def _place(self, key: Key, max_processes: int) -> LentProcess | Report:
        """A process with a free place, or why there is none."""
        while True:
            if (best := self._best()) is not None:
                return best
            if len(self._processes) < self._most and self._lending is None:
                lending = self._lend(key, max_processes)
                self._lending = asyncio.get_running_loop().create_task(lending)
            waiter: asyncio.Future[Report | None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            try:
                if (report := await waiter) is not None:
                    return report
            finally:
                if not waiter.done() and waiter in self._waiting:
                    self._waiting.remove(waiter)

    def _on_change(self) -> None:
        if any(not process.is_open for process in self._processes):
            self._processes = [process for process in self._processes if process.is_open]
        self._wake(None)

    def _wake(self, report: Report | None) -> None:
        """Those who wait look again, or hear why there is no process."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(report)

    async def _lend(self, key: Key, max_processes: int) -> None:
        report: Report | None
        try:
            report = await self._borrow(key, max_processes)
        except OSError as error:
            report = Report(How.NOT_STARTED, detail=error.strerror or str(error))
        finally:
            self._lending = None
        self._wake(report)

    async def _borrow(self, key: Key, max_processes: int) -> Report | None:
        """Add a process; a report says why there is none. Raises OSError."""
        words, environment, _ = key
        request = Request(
            pool=self._requests.identity,
            words=[word.encode("utf-8", "surrogateescape").replace(b"\0", b"") for word in words],
            environment=environment_block(environment),
            inputs=[],
            sent=time.monotonic(),
            patience=self._slot_timeout_s,
            timeout=0.0,
            max_output=0,
            max_processes=max_processes,
            is_v2=True,
        )
        end = await self._requests.send(encode_request(request), [])
        if end is None:
            return Report(How.BUSY)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, end) as ours:
            ours.setblocking(False)
            try:
                async with asyncio.timeout(self._slot_timeout_s):
                    data, ends = await _first_word(ours)
            except TimeoutError:
                return Report(How.BUSY)
            if not is_lent(data):
                return _report(data)
            control = ours.detach()
        process = LentProcess((ends[0], ends[1], ends[2]), control, self._on_change)
        if key != self._key:  # edited meanwhile
            process.retire()
        else:
            self._processes.append(process)
        return None


async def _first_word(control: socket.socket) -> tuple[bytes, list[int]]:
    """What the launcher answers, and the descriptors with it. Raises OSError."""
    loop = asyncio.get_running_loop()
    is_there = asyncio.Event()
    loop.add_reader(control.fileno(), is_there.set)
    try:
        await is_there.wait()
    finally:
        loop.remove_reader(control.fileno())
    data, ancillary, _, _ = control.recvmsg(_PACKET, _SPACE, socket.MSG_CMSG_CLOEXEC)
    ends = array.array("i")
    for level, kind, octets in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            ends.frombytes(octets)
    if is_lent(data) and len(ends) != _ENDS:
        for descriptor in ends:
            os.close(descriptor)
        return b"", []
    return data, list(ends)


def _report(data: bytes) -> Report:
    if not data:
        return Report(How.BROKEN)
    try:
        return decode_report(data)
    except msgspec.MsgspecError as error:
        return Report(How.BROKEN, detail=f"unreadable report: {error}")
