"""What a reload cannot take up, because what it is for was made at the start."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from relevo.config import ConfigErrors, Problem

if TYPE_CHECKING:
    from pathlib import Path

    from relevo.config import Config

_KEYS = (
    "listen.smtp",
    "listen.submission",
    "listen.submission_tls",
    "listen.monitoring",
    "server.workers",
    "server.watch_loop",
    "server.user",
    "server.loop",
    "queue.min_free_space",
    "queue.segment_size",
    "queue.inline_size",
    "history.max_age",
    "history.max_events",
)


def keys_for_a_restart(started: Config, config: Config) -> list[str]:
    """Names of keys in which `config` differs from what the server was started with."""
    return [name for name in _KEYS if _value(started, name) != _value(config, name)]


def as_running(config: Config, started: Config) -> Config:
    """`config` with as many workers as there are: limits of the whole server are shared by them."""
    return replace(config, server=replace(config.server, workers=started.server.workers))


def refuse_another_data_dir(running: Path, config: Config) -> None:
    """Raises ConfigErrors: queue, locks and secrets of a running server stay where they are."""
    if config.data_dir != running:
        file, _, line = config.origins.get("data_dir", "").rpartition(":")
        place = (file, int(line)) if line.isdecimal() else (str(config.config_dir), 0)
        text = f"the server runs on {running}"
        hint = "stop it and start it again to take it to another"
        raise ConfigErrors([Problem(*place, "data_dir", text, hint)])


def _value(config: Config, name: str) -> object:
    table, _, key = name.partition(".")
    value: object = getattr(getattr(config, table), key)
    return value
