"""A process that was lent, played by a test at the other ends of its pipes."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from relevo.hooks.lent_process import LentProcess
from relevo.hooks.wire import RETIRE, How, Report


@dataclass
class Played:
    """The other ends of all that a `LentProcess` has."""

    process: LentProcess
    stdin: int
    stdout: int
    stderr: int
    launcher: socket.socket
    changes: list[None]

    def call(self, message: bytes = b"", *, timeout_s: float = 30.0) -> asyncio.Task[Report]:
        call = self.process.call(b"{}", message, timeout_s=timeout_s, max_output=1000)
        return asyncio.get_running_loop().create_task(call)

    def answer(self, *numbers: int) -> None:
        lines = (json.dumps({"id": number, "answer": {}}) + "\n" for number in numbers)
        os.write(self.stdout, "".join(lines).encode())


@contextmanager
def played_process() -> Iterator[Played]:
    (in_read, in_write), (out_read, out_write), (err_read, err_write) = (
        os.pipe2(os.O_NONBLOCK) for _ in range(3)
    )
    control, launcher = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    control.setblocking(False)
    changes: list[None] = []
    process = LentProcess(
        (in_write, out_read, err_read), control.detach(), lambda: changes.append(None)
    )
    yield Played(process, in_read, out_write, err_write, launcher, changes)
    process.retire()
    launcher.close()
    for end in (in_read, out_write, err_write):
        os.close(end)


async def turns(number: int = 3) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_calls_of_one_turn_are_written_whole_and_in_their_order() -> None:
    with played_process() as played:
        calls = [played.call(b"one\n"), played.call(b"two\n")]
        await turns()
        first, second = os.read(played.stdin, 1000).split(b"\n", 4)[0:3:2]
        assert json.loads(first) == {"id": 1, "size": 4, "context": {}}
        assert json.loads(second) == {"id": 2, "size": 4, "context": {}}
        played.answer(2, 1)
        assert [report.how for report in await asyncio.gather(*calls)] == [How.EXITED] * 2
        assert played.process.in_flight == 0


async def test_a_pipe_that_is_full_takes_the_rest_later() -> None:
    with played_process() as played:
        size = 300_000
        calls = [played.call(b"x" * size) for _ in range(2)]
        got = b""
        async with asyncio.timeout(20):
            while got.count(b"x") < 2 * size:
                await turns()
                try:
                    got += os.read(played.stdin, 100_000)
                except BlockingIOError:
                    continue
        heads = [part for part in got.replace(b"x", b"").split(b"\n") if part]
        assert [json.loads(head)["size"] for head in heads if head.startswith(b"{")] == [size, size]
        played.answer(1, 2)
        await asyncio.gather(*calls)


async def test_what_it_said_on_stderr_goes_with_the_answer_behind_it() -> None:
    with played_process() as played:
        call = played.call()
        await turns()
        os.write(played.stderr, b"so it is\n")
        played.answer(1)
        assert (await call).errors == b"so it is\n"


async def test_each_call_has_its_own_deadline_whatever_came_before() -> None:
    with played_process() as played:
        slow, quick = played.call(timeout_s=30.0), played.call(timeout_s=0.05)
        assert (await quick).how is How.TIMED_OUT
        assert not slow.done()
        assert not played.process.is_open, "a process that hung gets no new call"
        assert played.launcher.recv(10) == RETIRE
        played.answer(1)
        assert (await slow).how is How.EXITED


async def test_an_answer_that_came_before_its_end_counts() -> None:
    with played_process() as played:
        answered, lost = played.call(), played.call()
        await turns()
        played.answer(1)
        played.launcher.close()
        assert (await answered).how is How.EXITED
        assert (await lost).how is How.BROKEN
