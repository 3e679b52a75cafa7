"""Answers kept as long as their zones allow, within bounds of our own (RFC 1035 §7.4, RFC 2308).

What is absent is kept as what was found is. The size is bounded in octets, roughly counted, since
the owner of a zone decides how large its answers are; what was used longest ago goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class _Entry(Generic[V]):
    value: V
    expires: float
    size: int


class Cache(Generic[K, V]):
    """A mapping with expiry; `clock` gives seconds that never run backwards."""

    def __init__(self, *, max_size: int, clock: Callable[[], float]) -> None:
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()
        self._size = 0
        self._max_size = max_size
        self._clock = clock

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size(self) -> int:
        """Octets of all entries as their owners counted them."""
        return self._size

    def get(self, key: K) -> V | None:
        """The value while it lives."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires <= self._clock():
            self._remove(key)
            return None
        self._entries.move_to_end(key)
        return entry.value

    def put(self, key: K, value: V, *, lifetime_s: float, size: int) -> None:
        """Keep a value; one with no lifetime, or larger than a tenth of all, is not kept."""
        self._remove(key)
        if lifetime_s <= 0 or size * 10 > self._max_size:
            return
        self._entries[key] = _Entry(value, self._clock() + lifetime_s, size)
        self._size += size
        while self._size > self._max_size:
            self._remove(next(iter(self._entries)))

    def _remove(self, key: K) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._size -= entry.size


def answer_size(key_text: str, records: tuple[Any, ...]) -> int:
    """About how many octets an answer and its key take in memory."""
    texts = sum(
        len(record if isinstance(record, bytes | str) else getattr(record, "data", ""))
        for record in records
    )
    return 600 + len(key_text) + 120 * len(records) + texts
