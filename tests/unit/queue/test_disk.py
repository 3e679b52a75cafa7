"""The real disk, where it is unkind without failing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from relevo.queue.disk import Disk


def test_a_write_taken_in_part_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the kernel does near a full disk or a signal."""
    pwrite = os.pwrite

    def some(descriptor: int, data: bytes | memoryview, offset: int) -> int:
        return pwrite(descriptor, data[:3], offset)

    def some_of_many(descriptor: int, buffers: Sequence[bytes | memoryview], offset: int) -> int:
        return some(descriptor, buffers[0], offset)

    monkeypatch.setattr(os, "pwrite", some)
    monkeypatch.setattr(os, "pwritev", some_of_many)
    disk = Disk()
    descriptor = disk.create(tmp_path / "file")
    try:
        assert disk.write(descriptor, [b"0123", memoryview(b"456789")], 5) == 10
    finally:
        os.close(descriptor)
    assert (tmp_path / "file").read_bytes() == bytes(5) + b"0123456789"
