"""The protocol with a persistent hook process: calls in on its stdin, answers out of its stdout.

On stdin, for each call: a line with one JSON object (`id`, `size`, `context`), then `size` octets,
which are the message at post-data. On stdout, for each call: a line with one JSON object, `id` and
`answer` or `error`, in any order of the calls. What it writes to stderr is kept for the next
report. Nothing here blocks; where the process breaks the rules, that is `WorkerBroken`.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from typing import NamedTuple

import msgspec

from relevo.hooks.wire import MAX_STDERR

_PIECE = 64 * 1024
_MOST_PIECES = 64  # of a write
_ENVELOPE = 1024  # octets of a line besides its answer
MAX_LATE = 1000
"""Answers that may still come for calls that were given up; then they are forgotten."""


class WorkerBroken(Exception):
    """The process did what the protocol does not allow; the text says what."""


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    """An answer; `answer` is the verdict of the stage, and nothing is accept."""

    id: int
    answer: msgspec.Raw = msgspec.Raw(b"")
    error: str = ""  # why there is none


class _Head(msgspec.Struct):
    id: int
    size: int
    context: msgspec.Raw


class Answered(NamedTuple):
    """What came for a call: a verdict, or why there is none."""

    number: int
    verdict: bytes
    error: str


_decode = msgspec.json.Decoder(_Line).decode
_encode = msgspec.json.Encoder().encode


class WorkerChannel:
    """The pipes of one process; they are ours."""

    def __init__(self, input_: int, output: int, error_output: int) -> None:
        self.input, self.output, self.error_output = input_, output, error_output
        self.max_output = 0
        self.errors = bytearray()
        self.calls: set[int] = set()
        self._waiting: deque[memoryview | _File] = deque()
        self._line = b""
        self._late: set[int] = set()

    @property
    def wants_to_write(self) -> bool:
        """Something of a request is not in the pipe yet."""
        return bool(self._waiting) and self.input >= 0

    def send(self, number: int, context: bytes, message: bytes | int) -> None:
        """Queue a call; a descriptor of the message becomes ours."""
        size = len(message) if isinstance(message, bytes) else os.fstat(message).st_size
        head = _encode(_Head(number, size, msgspec.Raw(context or b"null"))) + b"\n"
        self._waiting.append(memoryview(head))
        if isinstance(message, bytes):
            if message:
                self._waiting.append(memoryview(message))
        else:
            self._waiting.append(_File(message, size))
        self.calls.add(number)

    def write(self) -> None:
        """As much as the pipe takes."""
        while self._waiting:
            first = self._waiting[0]
            pieces = [first.piece()] if isinstance(first, _File) else self._first_in_memory()
            try:
                written = os.writev(self.input, pieces)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.EPIPE:
                    raise
                return  # that it reads no more is seen by its end, or by a deadline
            if isinstance(first, _File):
                if first.advance(written):
                    self._waiting.popleft()
            else:
                self._drop(written)

    def _first_in_memory(self) -> list[memoryview]:
        """What goes with one write: heads and messages up to one that is a file."""
        found: list[memoryview] = []
        for each in self._waiting:
            if isinstance(each, _File) or len(found) == _MOST_PIECES:
                break
            found.append(each)
        return found

    def _drop(self, written: int) -> None:
        """So many octets of what waits in memory are in the pipe."""
        while written:
            first = self._waiting[0]
            assert isinstance(first, memoryview)
            if written < len(first):
                self._waiting[0] = first[written:]
                return
            written -= len(first)
            self._waiting.popleft()

    def read(self) -> list[Answered] | None:
        """Answers that are there; None: it has closed its output.

        Raises WorkerBroken.
        """
        try:
            data = os.read(self.output, _PIECE)
        except BlockingIOError:
            return []
        if not data:
            return None
        *lines, rest = (self._line + data).split(b"\n")
        self._line = rest
        if len(rest) > self.max_output + _ENVELOPE:
            raise WorkerBroken("it wrote a line that is too long and was killed")
        return [found for line in lines if line.strip() and (found := self._answer(line))]

    def _answer(self, line: bytes) -> Answered | None:
        try:
            answer = _decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise WorkerBroken(
                f"it wrote a line that is no answer and was killed: {error}"
            ) from error
        number, verdict = answer.id, bytes(answer.answer)
        if number in self._late:
            self._late.discard(number)
            return None
        if number not in self.calls:
            raise WorkerBroken(f"it answered a call that there is not, {number}, and was killed")
        if len(verdict) > self.max_output:
            raise WorkerBroken("it wrote too much and was killed")
        self.calls.discard(number)
        return Answered(number, verdict, answer.error)

    def give_up(self, number: int) -> None:
        """Nobody waits for this answer any more; it may still come."""
        self.calls.discard(number)
        if len(self._late) < MAX_LATE:
            self._late.add(number)

    def read_errors(self) -> bool:
        """Keep what it says on stderr; False: it has closed it."""
        try:
            data = os.read(self.error_output, _PIECE)
        except BlockingIOError:
            return True
        self.errors += data[: max(0, MAX_STDERR - len(self.errors))]
        return bool(data)

    def has_more_errors(self) -> bool:
        """Keep what there is; False: that was all."""
        try:
            data = os.read(self.error_output, _PIECE)
        except BlockingIOError:
            return False
        self.errors += data[: max(0, MAX_STDERR - len(self.errors))]
        return bool(data) and len(self.errors) < MAX_STDERR

    def take_errors(self) -> bytes:
        """What was kept, once."""
        if not self.errors:
            return b""
        errors, self.errors = bytes(self.errors), bytearray()
        return errors

    def close_input(self) -> None:
        """Tell it that there is nothing more to do."""
        self._drop_waiting()
        if self.input >= 0:
            os.close(self.input)
            self.input = -1

    def close(self) -> None:
        """Give everything back but the process itself."""
        self.close_input()
        for end in (self.output, self.error_output):
            if end >= 0:
                os.close(end)
        self.output = self.error_output = -1

    def _drop_waiting(self) -> None:
        for each in self._waiting:
            if isinstance(each, _File):
                each.close()
        self._waiting.clear()


class _File:
    """A message in a file of its own, on its way into the pipe."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self._size = size
        self._offset = 0

    def piece(self) -> bytes:
        return os.pread(self._descriptor, min(_PIECE, self._size - self._offset), self._offset)

    def advance(self, octets: int) -> bool:
        """So much more is written; True: that was all of it, and it is closed."""
        self._offset += octets
        if self._offset < self._size:
            return False
        self.close()
        return True

    def close(self) -> None:
        os.close(self._descriptor)
