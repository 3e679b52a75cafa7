"""A persistent hook process that was lent to this worker: calls in flight, told apart by a number.

Calls that are made in one turn of the loop are one write, and the answers that are there one read,
with nobody in between. Answers are handed out at the next turn: what the process had said on
stderr before has been read by then. Limits, memory and the number of processes are the launcher's
business, which says when the process shall get no new call.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from relevo.hooks.wire import KILL, LENT, RETIRE, How, Report, decode_report
from relevo.hooks.worker_channel import WorkerBroken, WorkerChannel

if TYPE_CHECKING:
    from collections.abc import Callable

    from relevo.hooks.worker_channel import Answered

_LAST_WORDS_S = 2.0  # in which the launcher says how a process ended that closed its output
_PACKET = 16 * 1024


class _Call(NamedTuple):
    """One that is not answered."""

    answer: asyncio.Future[Report]
    deadline: float  # of the loop's clock


class LentProcess:
    """One process; `on_change` is called when a place in it comes free, or it gets no new calls."""

    def __init__(
        self, ends: tuple[int, int, int], control: int, on_change: Callable[[], None]
    ) -> None:
        """`ends`: of its stdin, stdout and stderr; all descriptors are ours from now on."""
        self.is_open = True  # to new calls
        self.in_flight = 0
        self._channel = WorkerChannel(*ends)
        self._control = control
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._calls: dict[int, _Call] = {}
        self._number = 0
        self._is_write_due = False
        self._is_writing = False
        self._answered: list[Answered] = []  # read, and not handed out yet
        self._timer: asyncio.TimerHandle | None = None  # for the deadlines of all calls
        self._last_words: asyncio.TimerHandle | None = None
        self._loop.add_reader(self._channel.output, self._on_output)
        self._loop.add_reader(self._channel.error_output, self._on_errors)
        self._loop.add_reader(control, self._on_control)

    async def call(
        self, context: bytes, message: bytes | int, *, timeout_s: float, max_output: int
    ) -> Report:
        """Pass a call on and wait for its answer; a descriptor stays the caller's."""
        self._number += 1
        number, channel, began = self._number, self._channel, time.monotonic()
        if isinstance(message, int):
            message = os.dup(message)
        answer: asyncio.Future[Report] = self._loop.create_future()
        self._calls[number] = _Call(answer, self._deadline(timeout_s))
        self.in_flight += 1
        channel.max_output = max_output
        channel.send(number, context, message)
        if not self._is_write_due and not self._is_writing:
            self._is_write_due = True
            self._loop.call_soon(self._write)
        try:
            report = await answer
        finally:
            self.in_flight -= 1
            if self._calls.pop(number, None) is not None and not answer.done():
                channel.give_up(number)  # the caller has gone
            self._settle()
        report.seconds = time.monotonic() - began
        return report

    def retire(self) -> None:
        """No new calls; when it has answered those it has it is given back."""
        if self.is_open:
            self.is_open = False
            self._tell(RETIRE)
            self._settle()

    # -- what happens

    def _deadline(self, timeout_s: float) -> float:
        """When a call that begins now is over at the latest; somebody looks then, or before."""
        deadline = self._loop.time() + timeout_s
        if self._timer is not None and deadline < self._timer.when():
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self._loop.call_at(deadline, self._look_at_deadlines)
        return deadline

    def _write(self) -> None:
        self._is_write_due = False
        self._channel.write()
        if self._channel.wants_to_write is self._is_writing:
            return
        self._is_writing = not self._is_writing
        if self._is_writing:
            self._loop.add_writer(self._channel.input, self._write)
        else:
            self._loop.remove_writer(self._channel.input)

    def _on_output(self) -> None:
        try:
            answers = self._channel.read()
        except WorkerBroken as error:
            self._tell(KILL)
            self._fail(Report(How.BROKEN, detail=str(error)))
            return
        if answers is None:  # the launcher knows how it ended
            self._loop.remove_reader(self._channel.output)
            self.is_open = False
            self._tell(KILL)
            lost = Report(How.BROKEN, detail="its worker process is gone")
            self._last_words = self._loop.call_later(_LAST_WORDS_S, self._fail, lost)
            return
        if answers and not self._answered:
            self._loop.call_soon(self._hand_out)
        self._answered += answers

    def _hand_out(self) -> None:
        """The answers that were read, to those who wait for them."""
        answers, self._answered = self._answered, []
        for answered in answers:
            report = Report(How.EXITED, output=answered.verdict)
            report.errors = self._channel.take_errors()
            if answered.error:
                report.how, report.detail = How.BROKEN, f"it failed: {answered.error}"
            self._finish(answered.number, report)

    def _finish(self, number: int, report: Report) -> None:
        call = self._calls.get(number)
        if call is not None and not call.answer.done():
            call.answer.set_result(report)

    def _on_errors(self) -> None:
        if not self._channel.read_errors():
            self._loop.remove_reader(self._channel.error_output)

    def _on_control(self) -> None:
        try:
            said = _read(self._control)
        except BlockingIOError:
            return
        if said == RETIRE:
            self.retire()
            return
        if self.is_open or self._calls:
            self._on_output()  # what it answered before it ended
        report = Report(How.BROKEN)
        if said:
            with suppress(msgspec.MsgspecError):
                report = decode_report(said)
        self._fail(report)

    def _look_at_deadlines(self) -> None:
        self._timer = None
        self._hand_out()
        now = self._loop.time()
        waiting = {n: call.deadline for n, call in self._calls.items() if not call.answer.done()}
        late = [number for number, deadline in waiting.items() if deadline <= now]
        if len(late) < len(waiting):
            nearest = min(deadline for deadline in waiting.values() if deadline > now)
            self._timer = self._loop.call_at(nearest, self._look_at_deadlines)
        for number in late:
            self._channel.give_up(number)
            self._channel.read_errors()
            self._finish(number, Report(How.TIMED_OUT, errors=self._channel.take_errors()))
        if late:
            self.retire()

    def _fail(self, report: Report) -> None:
        """It is over; so are its calls."""
        self._hand_out()
        self.is_open = False
        while self._control >= 0 and self._channel.has_more_errors():
            pass
        errors = self._channel.take_errors()
        for number in self._calls:
            self._finish(number, Report(report.how, detail=report.detail, errors=errors))
        self._give_back()
        self._on_change()

    def _settle(self) -> None:
        if not self.is_open and not self.in_flight:
            self._give_back()
        self._on_change()

    def _tell(self, data: bytes) -> None:
        if self._control >= 0:
            with suppress(OSError):
                os.write(self._control, data)

    def _give_back(self) -> None:
        """Its stdin is closed, and the launcher sees to its end."""
        if self._control < 0:
            return
        for timer in (self._last_words, self._timer):
            if timer is not None:
                timer.cancel()
        channel = self._channel
        for descriptor in (channel.output, channel.error_output, self._control):
            self._loop.remove_reader(descriptor)
        if self._is_writing:
            self._loop.remove_writer(channel.input)
            self._is_writing = False
        channel.close()
        os.close(self._control)
        self._control = -1


def _read(control: int) -> bytes:
    """What the launcher said last, though it may have closed before it read what we said."""
    for _ in range(2):
        try:
            return os.read(control, _PACKET)
        except ConnectionResetError:  # comes first, once
            continue
        except BlockingIOError:
            raise
        except OSError:
            break
    return b""


def is_lent(data: bytes) -> bool:
    """Whether a launcher's first word is that a process is lent."""
    return data == LENT
