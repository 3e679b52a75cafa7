"""The configuration in force, as `relevo config show` prints it.

No key of this model is a secret; one that becomes one must be left out here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from relevo.config.free_table import FreeTable
from relevo.config.model import Config
from relevo.config.schema import (
    HOOK_KEYS,
    HOOK_TABLE,
    KEYS,
    RELAY_KEYS,
    RELAY_TABLE,
    ROUTE_KEYS,
    ROUTE_TABLE,
    Key,
)
from relevo.config.toml_text import toml_value
from relevo.config.units import format_duration


def render_toml(config: Config) -> str:
    """A `relevo.toml` that says all of `config`, with where each value came from as comment."""
    lines = [f"# The configuration in force, from {' and '.join(config.source) or 'defaults'}"]
    section = ""
    for key in KEYS.values():
        if key.section != section:
            section = key.section
            lines += ["", f"[{section}]"]
        assignment = f"{key.field} = {toml_value(key, key.value_in(config))}"
        lines.append(f"{assignment}  # {_origin(config, key)}")
    for name, keys, tables in _arrays(config):
        for table in tables:
            lines += ["", f"[[{name}]]"]
            lines += [f"{key.field} = {toml_value(key, getattr(table, key.field))}" for key in keys]
    return "\n".join(lines) + "\n"


def render_json(config: Config) -> str:
    """The same for programs: `{"config": {…nested…}, "origins": {dotted key: text}, …}`.

    Durations are texts with units, sizes are octets.
    """
    tree: dict[str, Any] = {}
    for key in KEYS.values():
        holder = tree.setdefault(key.section, {}) if key.section else tree
        holder[key.field] = _plain(key.value_in(config))
    for name, keys, tables in _arrays(config):
        tree[name] = [
            {key.field: _plain(getattr(table, key.field)) for key in keys} for table in tables
        ]
    document = {
        "config_dir": str(config.config_dir),
        "source": list(config.source),
        "config": tree,
        "origins": {key.name: _origin(config, key) for key in KEYS.values()},
        "warnings": [str(warning) for warning in config.warnings],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _arrays(config: Config) -> Iterator[tuple[str, Sequence[Key], Sequence[Any]]]:
    """The arrays of tables: name, keys and tables of each."""
    yield ROUTE_TABLE, tuple(ROUTE_KEYS.values()), config.route
    yield RELAY_TABLE, tuple(RELAY_KEYS.values()), config.relay_domain
    yield HOOK_TABLE, tuple(HOOK_KEYS.values()), config.hook


def _origin(config: Config, key: Key) -> str:
    """Where the value came from; files of the config directory by their name alone."""
    return config.origins.get(key.name, "default").removeprefix(f"{config.config_dir}/")


def _plain(value: Any) -> Any:
    match value:
        case timedelta():
            return format_duration(value)
        case Path():
            return str(value)
        case tuple():
            return list(value)
        case FreeTable():
            return value.values
        case _:
            return value
