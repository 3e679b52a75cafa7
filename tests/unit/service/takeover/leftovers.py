"""A data directory as chasquid leaves it, and a relevo site that takes it over."""

from __future__ import annotations

from pathlib import Path

from harness.config_dir import ConfigDir
from relevo.config import load
from relevo.config.textproto import quote
from relevo.directory import DirectoryWatcher
from relevo.queue import create_database
from relevo.service.takeover.conversion import Site

NOW = 1_800_000_000.0
CREATED = 1_799_999_000
DATA = b"A: b\n\nx \xe9\n"


def recipient(
    address: str = "x@r.test",
    *more: str,
    original: str = "multi@d1.test",
) -> str:
    """A recipient; `more` are further fields as they stand."""
    fields = [f'address: "{address}"', f'original_address: "{original}"', *more]
    return f"rcpt: {{ {' '.join(fields)} }}"


def item_text(
    *recipients: str, identity: str = "LmQMNLdX89Q", sender: str = "a@pass.test", data: bytes = DATA
) -> str:
    return "\n".join((
        f'ID: "{identity}"',
        f'from: "{sender}"',
        'To: "multi@d1.test"',
        *(recipients or (recipient(),)),
        f"data: {quote(data)}",
        f"created_at_ts: {{ seconds: {CREATED} nanos: 500000000 }}",
    ))  # fmt: skip


def write_item(directory: Path, text: str, identity: str = "LmQMNLdX89Q") -> Path:
    folder = directory / "queue"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"m:{identity}"
    path.write_text(text)
    return path


def write_levels(directory: Path, text: str, name: str = "r.test") -> Path:
    folder = directory / "domaininfo"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"s:{name}"
    path.write_text(text)
    return path


def site_of(config_dir: ConfigDir) -> Site:
    """With a queue, as the server has it when it takes over."""
    config = load(config_dir.path)
    config.data_dir.mkdir(exist_ok=True)
    create_database(config.data_dir)
    return Site(config, DirectoryWatcher(config).current)
