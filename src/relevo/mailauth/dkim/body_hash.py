"""Hashes of a body for the signatures of a message, made while the body arrives.

Signatures that want the same share it. Memory does not grow with the body. Who must not be held for
long hands it in by pieces of `PIECE`: the worst body costs some 20 µs a KiB.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from relevo.mailauth.dkim.canonical import BodyCanonicalizer, Canonicalization
from relevo.value import dataclass

PIECE = 64 * 1024


@dataclass(frozen=True, slots=True)
class WantedHash:
    """What a signature says of its body hash: c= and l= (None: the whole body)."""

    form: Canonicalization
    length: int | None = None


@dataclass(frozen=True, slots=True)
class BodyHash:
    """SHA-256 of the canonical body, or of its beginning.

    `hashed` octets of the `size` octets of the canonical body.
    """

    digest: bytes
    hashed: int
    size: int


class _Sink:
    """One hash over the first octets, or all, of a canonical body."""

    __slots__ = ("_hash", "left", "size")

    def __init__(self, length: int | None) -> None:
        self._hash = hashlib.sha256()
        self.left = length
        self.size = 0

    def add(self, data: bytes) -> None:
        self.size += len(data)
        if self.left is None:
            self._hash.update(data)
        elif self.left:
            now = data[: self.left]
            self._hash.update(now)
            self.left -= len(now)

    def result(self, length: int | None) -> BodyHash:
        hashed = self.size if length is None else min(length, self.size)
        return BodyHash(self._hash.digest(), hashed, self.size)


class BodyHashes:
    """All the hashes that are wanted of one body."""

    __slots__ = ("_canonicalizers", "_is_finished", "_sinks")

    def __init__(self, wanted: Iterable[WantedHash]) -> None:
        self._sinks = {want: _Sink(want.length) for want in wanted}
        self._canonicalizers = [
            BodyCanonicalizer(form, _fan_out([s for w, s in self._sinks.items() if w.form is form]))
            for form in dict.fromkeys(want.form for want in self._sinks)
        ]
        self._is_finished = False

    def add(self, data: bytes) -> None:
        """More of the body, of any size."""
        for canonicalizer in self._canonicalizers:
            canonicalizer.add(data)

    def get(self, want: WantedHash) -> BodyHash:
        """The hash; nothing can be added from now on."""
        if not self._is_finished:
            self._is_finished = True
            for canonicalizer in self._canonicalizers:
                canonicalizer.finish()
        return self._sinks[want].result(want.length)


def _fan_out(sinks: list[_Sink]) -> Callable[[bytes], None]:
    if len(sinks) == 1:
        return sinks[0].add

    def add(data: bytes) -> None:
        for sink in sinks:
            sink.add(data)

    return add


def hash_body(body: bytes, want: WantedHash) -> BodyHash:
    """The hash of a body that is in memory."""
    hashes = BodyHashes((want,))
    hashes.add(body)
    return hashes.get(want)
