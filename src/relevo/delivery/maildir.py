"""Delivery into Maildir.

Order, which makes "delivered" mean "on stable storage under its final name": write a file in
tmp/, fsync it, rename it to new/NAME, fsync new/, and only then report. After a failed write or
sync the file is removed and the attempt is temporary: a file whose sync failed is never trusted.

The name is made from the message id, the unit and the recipient, so that a repeat after a crash
replaces the file instead of adding a second one. If a mail reader has moved the first copy to cur/
meanwhile, the repeat finds it there and delivers nothing. (A copy that the reader has also deleted
cannot be seen: then the message arrives again.)

Return-Path and Delivered-To (the final address) stand on top; line ends are LF.

Each delivery runs its whole sequence in one of 16 threads: sixteen syncs at once share their
journal commits in the kernel, which measured seven times one at a time. The threads start with the
first delivery, after the worker has forked. There is no deadline: a thread in a system call cannot
be stopped, and while it may still write, the outcome is unknown.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from relevo.delivery.attempt import (
    DELIVERED,
    Attempt,
    Result,
    gather_results,
    permanent,
    temporary,
)
from relevo.delivery.cur_listing import CurListings
from relevo.delivery.line_ends import to_lf
from relevo.delivery.mailbox import Mailbox, Mailboxes, MailboxMissing
from relevo.delivery.mailbox_pattern import InvalidMailboxName, MailboxPattern
from relevo.directory import Existence, UnknownNow
from relevo.mail import (
    Address,
    InvalidAddress,
    delivered_to_field,
    parse_address,
    return_path_field,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from relevo.queue.store import Content, Unit

_log = logging.getLogger(__name__)

THREADS = 16
BATCH = 64  # recipients of one unit handed to the threads at once
PIECE = 256 * 1024
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def file_name(unit: Unit, index: int, hostname: str) -> str:
    """The name of a recipient's file, the same at each attempt."""
    host = hostname.replace("/", "\\057").replace(":", "\\072")
    return f"{int(unit.created)}.{unit.message_id}_{unit.number}_{index}.{host}"


def delivery_head(reverse_path: str, recipient: Address) -> bytes:
    """Return-Path (RFC 5321 §4.4) and Delivered-To (RFC 9228), LF line ends."""
    fields = return_path_field(reverse_path) + delivered_to_field(str(recipient))
    return fields.replace(b"\r\n", b"\n")


def _pieces(head: bytes, content: Content) -> Iterator[bytes]:
    """The file's octets; a small message in one piece."""
    if content.size <= PIECE:
        yield head + b"".join(to_lf(content.chunks()))
        return
    yield head
    yield from to_lf(content.chunks())


def _write_all(descriptor: int, data: bytes) -> None:
    written = os.write(descriptor, data)
    if written == len(data):
        return
    rest = memoryview(data)[written:]
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def write_file(mailbox: Mailbox, name: str, pieces: Iterable[bytes]) -> None:
    """Put a file into new/, durable on return. Raises OSError; then nothing of it is left."""
    # Two processes never share a tmp file, even if one hangs and the other takes its unit over.
    tmp_name = f"{name}.{os.getpid()}"
    try:
        descriptor = os.open(tmp_name, _NEW_FILE, 0o600, dir_fd=mailbox.tmp_fd)
    except FileExistsError:
        # left by a dead process that had our id
        os.unlink(tmp_name, dir_fd=mailbox.tmp_fd)
        descriptor = os.open(tmp_name, _NEW_FILE, 0o600, dir_fd=mailbox.tmp_fd)
    try:
        try:
            for piece in pieces:
                _write_all(descriptor, piece)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(tmp_name, name, src_dir_fd=mailbox.tmp_fd, dst_dir_fd=mailbox.new_fd)
    except BaseException:
        with suppress(OSError):
            os.unlink(tmp_name, dir_fd=mailbox.tmp_fd)
        raise
    try:
        os.fsync(mailbox.new_fd)
    except OSError:
        with suppress(OSError):
            os.unlink(name, dir_fd=mailbox.new_fd)
        raise


def remove_left_tmp_files(mailbox: Mailbox, name: str) -> None:
    """Remove what dead attempts left; one that still hangs somewhere can then no longer rename."""
    with os.scandir(mailbox.tmp_fd) as entries:
        left = [entry.name for entry in entries if entry.name.startswith(name + ".")]
    for tmp_name in left:
        with suppress(FileNotFoundError):
            os.unlink(tmp_name, dir_fd=mailbox.tmp_fd)


def is_in_cur(mailbox: Mailbox, name: str, created: int, listings: CurListings) -> bool:
    """Has a mail reader moved the file to cur/? Then its entry there is synced."""
    descriptor = mailbox.open_cur()
    try:
        found = listings.find(descriptor, name, created)
        if found:
            os.fsync(descriptor)
        return found
    finally:
        os.close(descriptor)


def _failure(error: OSError) -> Result:
    """What an error of the file system means for the recipient."""
    match error.errno:
        case errno.ENOSPC:
            return temporary("4.3.1", "the disk of the mailbox is full")
        case errno.EDQUOT:
            return temporary("4.2.2", "the mailbox is over its disk quota")
        case errno.ENOTDIR | errno.ELOOP:
            return temporary(
                "4.3.5", "the mailbox cannot be opened: a link or file is where a directory belongs"
            )
        case code:
            reason = os.strerror(code) if code else "input/output error"
            return temporary("4.3.0", f"the mailbox cannot be written: {reason}")


class MaildirAgent:
    """Serves route `local` with `maildir:PATTERN`.

    `is_user` tells whether a final address is a user of the database; it is asked only when a
    mailbox does not exist yet.
    """

    name = "maildir"

    def __init__(
        self,
        pattern: MailboxPattern,
        hostname: str,
        is_user: Callable[[Address], Awaitable[Existence | UnknownNow]],
    ) -> None:
        self._pattern = pattern
        self._hostname = hostname
        self._is_user = is_user
        self._mailboxes = Mailboxes(pattern.fixed)
        self._listings = CurListings()
        self._threads: ThreadPoolExecutor | None = None
        self._running = 0
        self._is_closing = False

    async def attempt(self, attempt: Attempt) -> tuple[Result, ...]:
        self._running += 1
        try:
            return await self._deliver_all(attempt)
        finally:
            self._running -= 1
            if self._is_closing and not self._running:
                self._release()

    async def _deliver_all(self, attempt: Attempt) -> tuple[Result, ...]:
        if len(attempt.pending) == 1:
            return (await self._deliver(attempt, attempt.pending[0]),)
        results: list[Result] = []
        for start in range(0, len(attempt.pending), BATCH):
            batch = attempt.pending[start : start + BATCH]
            results += await gather_results(self._deliver(attempt, index) for index in batch)
        return tuple(results)

    def close(self) -> None:
        """Give back threads and descriptors, as soon as no attempt is running."""
        self._is_closing = True
        if not self._running:
            self._release()

    def _release(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=False)
            self._threads = None
        self._mailboxes.close()

    async def _deliver(self, attempt: Attempt, index: int) -> Result:
        try:
            address = parse_address(attempt.unit.recipients[index].target)
            key = self._pattern.components(address.local, address.domain)
        except (InvalidAddress, InvalidMailboxName) as error:
            return permanent("5.1.3", f"no mailbox can have this address: {error}")
        try:
            return await self._in_thread(attempt, index, address, key, create=False)
        except MailboxMissing:
            pass
        match await self._is_user(address):
            case Existence.FOUND:
                return await self._in_thread(attempt, index, address, key, create=True)
            case Existence.ABSENT:
                return permanent("5.1.1", "there is no such user here")
            case Existence.INVALID:
                return permanent("5.1.3", "no user here can have this name")
            case UnknownNow(reason):
                _log.warning("cannot tell whether %s is a user: %s", address, reason)
                return temporary("4.3.0", "cannot tell now whether there is such a user")

    async def _in_thread(
        self, attempt: Attempt, index: int, address: Address, key: tuple[str, ...], *, create: bool
    ) -> Result:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="maildir")
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, self._store_message, attempt, index, address, key, create
        )

    def _store_message(
        self, attempt: Attempt, index: int, address: Address, key: tuple[str, ...], create: bool
    ) -> Result:
        """The whole delivery, in a thread. Raises MailboxMissing."""
        unit = attempt.unit
        name = file_name(unit, index, self._hostname)
        head = delivery_head(unit.envelope.reverse_path, address)
        for is_last_try in (False, True):
            try:
                with self._mailboxes.borrow(key, create=create) as mailbox:
                    if attempt.is_repeat:
                        remove_left_tmp_files(mailbox, name)
                        if is_in_cur(mailbox, name, int(unit.created), self._listings):
                            return DELIVERED
                    write_file(mailbox, name, _pieces(head, unit.content))
                    return DELIVERED
            except FileNotFoundError as error:
                # removed under our hands: open it again, once
                if is_last_try:
                    return self._failed(error, unit, address)
            except OSError as error:
                return self._failed(error, unit, address)
        raise AssertionError("unreachable")

    def _failed(self, error: OSError, unit: Unit, address: Address) -> Result:
        _log.error("%s: delivery to the mailbox of %s failed: %s", unit.message_id, address, error)
        return _failure(error)
