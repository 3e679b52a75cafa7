"""What a mail reader has moved to cur/, remembered between repeats.

After a crash every unit that was being tried is tried again, thousands perhaps for one mailbox, and
each must know whether a reader has moved its file to cur/. One listing serves them all for as long
as nothing changes there: the time of change of the directory tells, where it is older than the
listing by more than the clock of the file system is coarse.

Only names that a repeat may ask for are kept: those that begin with a time (`maildir.file_name`)
not more than an hour before that of the message asked for. An older message makes a new listing.
Bounded in mailboxes and names; what does not fit is listed each time. Safe for many threads.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

MAILBOXES = 16
NAMES = 100_000  # of one mailbox
_COARSE_NS = 100_000_000  # file systems stamp with the kernel's tick, 1 to 10 ms
_EARLIER = 3600  # seconds


@dataclass(frozen=True, slots=True)
class _Listing:
    changed_ns: int
    since: int  # names of this time and later are there
    names: frozenset[str]


class CurListings:
    """Answers for the mailboxes asked for last; `find` blocks."""

    def __init__(self, mailboxes: int = MAILBOXES, names: int = NAMES) -> None:
        self._mailboxes = mailboxes
        self._most = names
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[int, int], _Listing] = OrderedDict()

    def find(self, descriptor: int, name: str, created: int) -> bool:
        """Is there a file of this name, with flags or without, in the directory? Raises OSError.

        `created` is the number that the name begins with.
        """
        status = os.fstat(descriptor)
        key = (status.st_dev, status.st_ino)
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
        if known is None or known.changed_ns != status.st_mtime_ns or created < known.since:
            known = self._list(descriptor, status.st_mtime_ns, created - _EARLIER)
            self._keep(key, known)
        return name in known.names

    def _list(self, descriptor: int, changed_ns: int, since: int) -> _Listing:
        # A change in the tick of the last one leaves no trace: then the listing is of this moment.
        if time.time_ns() - changed_ns < _COARSE_NS:
            changed_ns = -1
        with os.scandir(descriptor) as entries:
            names = frozenset(
                entry.name.partition(":")[0] for entry in entries if _time_of(entry.name) >= since
            )
        return _Listing(changed_ns, since, names)

    def _keep(self, key: tuple[int, int], listing: _Listing) -> None:
        with self._lock:
            if listing.changed_ns < 0 or len(listing.names) > self._most:
                self._known.pop(key, None)
                return
            self._known[key] = listing
            self._known.move_to_end(key)
            if len(self._known) > self._mailboxes:
                self._known.popitem(last=False)


def _time_of(name: str) -> int:
    """The number that a name begins with; -1: none, so it is not ours."""
    head = name.partition(".")[0]
    return int(head) if head.isascii() and head.isdecimal() and len(head) < 20 else -1
