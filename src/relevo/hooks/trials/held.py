"""A message that is still needed when its own file may be gone.

What is in memory is held as it is. Of a larger message the file is opened while it is there, and
copied into an unlinked one when the first who needs it comes, so that several can read it.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from relevo.hooks.input_file import disk_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relevo.hooks.post_data import HookMessage

_CHUNK = 256 * 1024


class HeldMessage:
    """One message, until all who took it have given it back."""

    def __init__(self, message: HookMessage) -> None:
        self._message = message
        self._lock = asyncio.Lock()
        self._pieces: Iterator[bytes] | None = None
        self._first = b""
        self._file = -1
        self._holders = 1

    @classmethod
    async def of(cls, message: HookMessage) -> HeldMessage:
        """Held by the caller. Raises OSError, or what reading the message raises."""
        held = cls(message)
        if message.rest is not None:
            await asyncio.to_thread(held._open)
        return held

    def take(self) -> HeldMessage:
        """One more needs it."""
        self._holders += 1
        return self

    def give_back(self) -> None:
        """One less does."""
        self._holders -= 1
        if self._holders:
            return
        self._pieces = None
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    async def get(self) -> HookMessage:
        """The message, to be read until it is given back. Raises as `of`."""
        if self._message.rest is None:
            return self._message
        async with self._lock:
            if self._file < 0:
                self._file = await asyncio.to_thread(self._copy)
        return replace(self._message, rest=partial(_read, self._file))

    def _open(self) -> None:
        """Its file is opened with the first octets that are read."""
        assert self._message.rest is not None
        self._pieces = iter(self._message.rest())
        self._first = next(self._pieces, b"")

    def _copy(self) -> int:
        assert self._pieces is not None
        pieces, self._pieces = self._pieces, None
        first, self._first = self._first, b""
        return disk_file(_joined(first, pieces))


def _joined(first: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from pieces


def _read(descriptor: int) -> Iterator[bytes]:
    at = 0
    while chunk := os.pread(descriptor, _CHUNK, at):
        at += len(chunk)
        yield chunk
