"""The table `[hook.settings]` of a declaration, as a value of the hook's own type.

    class Mine(Settings, frozen=True):
        url: str = "http://127.0.0.1:8080"
        timeout: float = 5.0

    chosen = settings(Mine)

Names that the type does not have, and values of another type, are errors that say which.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import msgspec

from relevo.hooks.contract.json_form import SETTINGS_VARIABLE

_MAX_SECRET = 4096  # octets


class BadSettings(Exception):
    """What is wrong with the settings; the text says where."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Type of settings to derive from; what has no default must be set."""


Chosen = TypeVar("Chosen", bound=msgspec.Struct)


def settings(kind: type[Chosen]) -> Chosen:
    """Those that the hook was declared with. Raises BadSettings."""
    chosen: Chosen = _cached(kind, os.environ.get(SETTINGS_VARIABLE, ""))
    return chosen


def read_settings(kind: type[Chosen], text: str) -> Chosen:
    """From a JSON object; "": an empty one. Raises BadSettings."""
    try:
        chosen: Chosen = msgspec.json.decode(text or "{}", type=kind)
    except msgspec.MsgspecError as error:
        said = str(error).replace("Object", "the table", 1).replace("`$.", "`settings.")
        raise BadSettings(f"settings: {said}") from error
    return chosen


def settings_type(module: ModuleType) -> type[Settings] | None:
    """The type of a module's settings, by its name: `…Settings`; None: it has none."""
    for name, value in vars(module).items():
        is_own = getattr(value, "__module__", "") == module.__name__
        if name.endswith("Settings") and is_own and issubclass(value, Settings):
            found: type[Settings] = value
            return found
    return None


def secret(path: str) -> str:
    """The line in a file, for a password; relative to the config directory. Raises BadSettings."""
    try:
        with Path(path).open(encoding="utf-8") as file:
            line = file.read(_MAX_SECRET).strip()
    except (OSError, ValueError) as error:
        raise BadSettings(f"{path} cannot be read: {error}") from error
    if not line or not line.isprintable():
        raise BadSettings(f"{path} must hold one line")
    return line


@functools.cache
def _cached(kind: type[Chosen], text: str) -> Chosen:
    return read_settings(kind, text)
