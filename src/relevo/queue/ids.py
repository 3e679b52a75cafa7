"""Message ids: 20 characters, sortable by time, unique without asking anybody.

100 bits in base 32 (digits and lower-case letters without i, l, o, u): 45 bits of milliseconds
since the epoch, then 55 that begin at random and count up within a millisecond. Within a process
ids only grow, also when the clock is set back; a forked child draws its own random bits. An id is
safe as a file name, in a URL and in a mail header, and does not depend on case. It is no secret:
the random bits come from a generator that the system seeds once a process, since asking the system
for each of them gave up the interpreter lock on the path of every message (measured: a tenth of
it).
"""

from __future__ import annotations

import hashlib
import os
import random
import secrets
import threading
import time

from relevo.queue.store import MessageId

LENGTH = 20
_TIME_LENGTH = 9
_TAIL_BITS = 55
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
_MAX_MILLISECONDS = (1 << 45) - 1


def _text(value: int) -> str:
    """100 bits as 20 characters."""
    pairs = _PAIRS
    return (
        pairs[value >> 90]
        + pairs[value >> 80 & 1023]
        + pairs[value >> 70 & 1023]
        + pairs[value >> 60 & 1023]
        + pairs[value >> 50 & 1023]
        + pairs[value >> 40 & 1023]
        + pairs[value >> 30 & 1023]
        + pairs[value >> 20 & 1023]
        + pairs[value >> 10 & 1023]
        + pairs[value & 1023]
    )


class Sequence:
    """Ids that only grow; one of it serves the whole process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0
        self._random = random.Random(secrets.randbits(256))

    def next(self, now: float) -> MessageId:
        """A fresh id; `now` in seconds since the epoch."""
        milliseconds = min(int(now * 1000), _MAX_MILLISECONDS)
        with self._lock:
            if milliseconds > self._last >> _TAIL_BITS:
                # The highest random bit stays free, so that counting up never reaches the time.
                tail = self._random.getrandbits(_TAIL_BITS - 1)
                self._last = milliseconds << _TAIL_BITS | tail
            else:
                self._last += 1
            value = self._last
        return MessageId(_text(value))

    def restart(self) -> None:
        """In a forked child: new lock, new random bits from the next millisecond on."""
        self._lock = threading.Lock()
        self._random.seed(secrets.randbits(256))
        if self._last:
            milliseconds = self._last >> _TAIL_BITS
            self._last = milliseconds << _TAIL_BITS | self._random.getrandbits(_TAIL_BITS - 1)


_sequence = Sequence()
os.register_at_fork(after_in_child=_sequence.restart)


def new_id(now: float | None = None) -> MessageId:
    """A fresh id; `now` in seconds since the epoch, the clock's time if not given."""
    return _sequence.next(time.time() if now is None else now)


def derived_id(now: float, source: bytes) -> MessageId:
    """The one id that stands for `source`, a name from elsewhere, made at `now`."""
    milliseconds = min(max(int(now * 1000), 0), _MAX_MILLISECONDS)
    tail = int.from_bytes(hashlib.sha256(source).digest(), "big") % (1 << _TAIL_BITS)
    return MessageId(_text(milliseconds << _TAIL_BITS | tail))


def is_id(text: str) -> bool:
    """Whether it has the form of an id."""
    return len(text) == LENGTH and set(text) <= set(_ALPHABET)


def time_prefix(now: float) -> str:
    """The first 9 characters of ids made at `now`: sorts before all later ids."""
    milliseconds = min(max(int(now * 1000), 0), _MAX_MILLISECONDS)
    return _text(milliseconds << _TAIL_BITS)[:_TIME_LENGTH]
