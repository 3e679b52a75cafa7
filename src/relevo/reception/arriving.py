"""The octets of a message while they arrive: in memory while small, in the spool when large.

The header block always stays in memory (it is bounded), so that it can be checked and completed
at the end; what follows it goes to a spool file once the message is larger than a quarter MiB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relevo.queue.store import MemoryContent

if TYPE_CHECKING:
    from collections.abc import Callable

    from relevo.queue.store import Content, SpoolWriter
    from relevo.reception.body_watch import BodyWatch

IN_MEMORY = 256 * 1024  # octets; a message above this streams to the spool
HIGH_WATER = 1024 * 1024  # octets handed to the spool and not yet written: stop reading


class ArrivingMessage:
    """One message on its way in."""

    __slots__ = (
        "_chunks",
        "_head",
        "_header_limit",
        "_new_spool",
        "_size",
        "_spool",
        "_watch",
        "body_watch",
        "is_header_too_large",
    )

    def __init__(
        self,
        new_spool: Callable[[], SpoolWriter],
        header_limit: int,
        watch: Callable[[bytes], BodyWatch | None] | None = None,
    ) -> None:
        """`watch` is given the head of a large message and may want to see its body."""
        self._new_spool = new_spool
        self._header_limit = header_limit
        self._chunks: list[bytes] = []
        self._size = 0
        self._head = b""
        self._spool: SpoolWriter | None = None
        self.is_header_too_large = False
        self._watch = watch
        self.body_watch: BodyWatch | None = None

    def add(self, data: bytes) -> None:
        """More octets. Raises StoreFailed when the spool failed."""
        if self._spool is not None:
            self._spool.write(data)
            if self.body_watch is not None:
                self.body_watch.add(data)
            return
        if self.is_header_too_large:
            return
        self._chunks.append(data)
        self._size += len(data)
        if self._size > IN_MEMORY:
            self._move_to_spool()

    def _move_to_spool(self) -> None:
        data = b"".join(self._chunks)
        self._chunks.clear()
        end = 2 if data.startswith(b"\r\n") else data.find(b"\r\n\r\n") + 4
        if end == 3 or end > self._header_limit:
            self.is_header_too_large = True
            return
        self._head = data[:end]
        self._spool = self._new_spool()
        self._spool.write(data[end:])
        if self._watch is not None:
            self.body_watch = self._watch(data[: end - 2])
            if self.body_watch is not None:
                self.body_watch.add(data[end:])

    @property
    def spool(self) -> SpoolWriter | None:
        """Where the body goes; None while the message is small."""
        return self._spool

    def start(self) -> bytes:
        """The octets that are in memory: the whole message, or its head and blank line."""
        return self._head if self._spool is not None else b"".join(self._chunks)

    def rest(self) -> Content | None:
        """What follows `start()` on disk, to be read while nothing is decided; None: nothing."""
        return None if self._spool is None else self._spool.finish(b"")

    def content(self, start: bytes) -> Content:
        """What the store takes, with `start` in the place of `start()`."""
        if self._spool is not None:
            spool, self._spool = self._spool, None
            return spool.finish(start)
        self._chunks.clear()
        return MemoryContent(start)

    def drop(self) -> None:
        """Forget everything."""
        self._chunks.clear()
        if self._spool is not None:
            self._spool.abort()
            self._spool = None
