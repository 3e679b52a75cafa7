"""Unpacking archives of our own, with the oldest Python that is promised and the newest."""

from __future__ import annotations

import tarfile
from pathlib import Path


def unpack(archive: tarfile.TarFile, folder: Path) -> None:
    """Everything into the folder; with the filter where this Python (3.11.4 on) knows it."""
    if hasattr(tarfile, "data_filter"):
        archive.extractall(folder, filter="data")
    else:
        archive.extractall(folder)
