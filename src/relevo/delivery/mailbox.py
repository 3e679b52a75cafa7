"""Mailbox directories, opened safely and kept open.

Below the pattern's fixed part every component is opened relative to its parent with O_NOFOLLOW, so
that a link planted in a mailbox leads nowhere. A mailbox is made with mode 0700; each new directory
is synced into its parent before the next is made.

Blocking; called from the threads of the Maildir agent. `Mailboxes` keeps the last used ones open:
an entry is used only while its path still leads to the same directory, so that a mailbox that was
removed or moved away is opened (or made) anew.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_BELOW = _DIRECTORY | os.O_NOFOLLOW
_MODE = 0o700
DEFAULT_CAPACITY = 256

Key = tuple[str, ...]


class MailboxMissing(Exception):
    """The mailbox, or one of its three directories, does not exist."""


class Mailbox:
    """An open Maildir. Descriptors are closed when it has left the cache and nobody uses it."""

    __slots__ = ("box_fd", "identity", "is_retired", "new_fd", "path_of_new", "tmp_fd", "users")

    def __init__(self, path: Path, box_fd: int) -> None:
        """Take over `box_fd`. Raises OSError; then it is closed."""
        self.box_fd = box_fd
        self.path_of_new = path / "new"
        self.users = 0
        self.is_retired = False
        self.tmp_fd = self.new_fd = -1
        try:
            self.tmp_fd = os.open("tmp", _BELOW, dir_fd=box_fd)
            self.new_fd = os.open("new", _BELOW, dir_fd=box_fd)
            # whoever made new/ may have died before its entry was on disk
            os.fsync(box_fd)
            status = os.fstat(self.new_fd)
        except BaseException:
            self.close()
            raise
        self.identity = (status.st_dev, status.st_ino)

    def is_current(self) -> bool:
        """Does the path still lead here?"""
        try:
            status = self.path_of_new.lstat()
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self.identity

    def open_cur(self) -> int:
        """A descriptor of cur/, for the caller to close."""
        return os.open("cur", _BELOW, dir_fd=self.box_fd)

    def close(self) -> None:
        for descriptor in (self.box_fd, self.tmp_fd, self.new_fd):
            if descriptor >= 0:
                os.close(descriptor)
        self.box_fd = self.tmp_fd = self.new_fd = -1


def _make_directory(name: str, parent_fd: int) -> None:
    is_new = True
    try:
        os.mkdir(name, _MODE, dir_fd=parent_fd)
    except FileExistsError:
        is_new = False
    try:
        # also when it exists: perhaps made a moment ago by a delivery that has not synced it yet
        os.fsync(parent_fd)
    except OSError:
        if is_new:  # made anew by the next try: a second sync might succeed for a name that is lost
            with suppress(OSError):
                os.rmdir(name, dir_fd=parent_fd)
        raise


def _make_fixed(path: Path) -> None:
    """Make the pattern's fixed part where it is missing, parents first."""
    if path.is_dir():
        return
    _make_fixed(path.parent)
    parent_fd = os.open(path.parent, _DIRECTORY)
    try:
        _make_directory(path.name, parent_fd)
    finally:
        os.close(parent_fd)


def open_mailbox(fixed: Path, components: Key, *, create: bool) -> Mailbox:
    """Open the Maildir at `components` below `fixed`; with `create`, make what is missing.

    Raises MailboxMissing (not with `create`), else OSError: a link or a file in the way is
    NotADirectoryError.
    """
    try:
        if create:
            _make_fixed(fixed)
        descriptor = os.open(fixed, _DIRECTORY)
        try:
            for name in components:
                if create:
                    _make_directory(name, descriptor)
                child = os.open(name, _BELOW, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = child
            if create:
                for name in ("tmp", "cur", "new"):
                    _make_directory(name, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return Mailbox(fixed.joinpath(*components), descriptor)
    except FileNotFoundError as error:
        if create:
            raise
        raise MailboxMissing from error


class Mailboxes:
    """The mailboxes below one fixed part, the last used ones open. Safe for many threads."""

    def __init__(self, fixed: Path, capacity: int = DEFAULT_CAPACITY) -> None:
        self._fixed = fixed
        self._capacity = capacity
        self._lock = threading.Lock()
        self._open: OrderedDict[Key, Mailbox] = OrderedDict()

    @contextmanager
    def borrow(self, key: Key, *, create: bool) -> Iterator[Mailbox]:
        """The mailbox, open while the block runs. Raises as `open_mailbox`.

        An OSError inside the block drops the mailbox from the cache.
        """
        mailbox = self._take(key)
        if mailbox is None:
            mailbox = self._add(key, open_mailbox(self._fixed, key, create=create))
        try:
            yield mailbox
        except OSError:
            self._drop(key, mailbox)
            raise
        finally:
            self._give_back(mailbox)

    def _take(self, key: Key) -> Mailbox | None:
        with self._lock:
            mailbox = self._open.get(key)
            if mailbox is None:
                return None
            self._open.move_to_end(key)
            mailbox.users += 1
        if mailbox.is_current():
            return mailbox
        self._drop(key, mailbox)
        self._give_back(mailbox)
        return None

    def _add(self, key: Key, mailbox: Mailbox) -> Mailbox:
        mailbox.users += 1
        evicted: list[Mailbox] = []
        with self._lock:
            before = self._open.pop(key, None)
            if before is not None:
                evicted.append(before)
            self._open[key] = mailbox
            if len(self._open) > self._capacity:
                evicted.append(self._open.popitem(last=False)[1])
            self._retire(evicted)
        return mailbox

    def _drop(self, key: Key, mailbox: Mailbox) -> None:
        with self._lock:
            if self._open.get(key) is mailbox:
                del self._open[key]
            self._retire([mailbox])

    def _retire(self, mailboxes: list[Mailbox]) -> None:
        """With the lock held: close now, or when its last user is done."""
        for mailbox in mailboxes:
            mailbox.is_retired = True
            if mailbox.users == 0:
                mailbox.close()

    def _give_back(self, mailbox: Mailbox) -> None:
        with self._lock:
            mailbox.users -= 1
            if mailbox.is_retired and mailbox.users == 0:
                mailbox.close()

    def close(self) -> None:
        """Close all that nobody uses; the rest when its user is done."""
        with self._lock:
            self._retire(list(self._open.values()))
            self._open.clear()
