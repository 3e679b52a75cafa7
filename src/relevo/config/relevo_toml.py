"""Readers of `relevo.toml` and of `--set KEY=VALUE`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from functools import partial
from typing import Any

from relevo.config.chasquid_conf import RELEVO_NAMES
from relevo.config.convert import convert, convert_text, nearest
from relevo.config.hook_tables import read_hook_tables
from relevo.config.relay_tables import read_relay_tables
from relevo.config.route_tables import read_route_tables
from relevo.config.schema import HOOK_TABLE, KEYS, RELAY_TABLE, ROUTE_TABLE, SECTIONS
from relevo.config.settings import OVERRIDES, Reading
from relevo.config.toml_lines import Path, key_lines

_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


def read_relevo_toml(data: bytes, file: str) -> Reading:
    """What a `relevo.toml` with the content `data` says; never raises."""
    reading = Reading(file)
    try:
        document = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        reading.problem(line, "", "the file is not UTF-8", "save it in that encoding")
        return reading
    try:
        tree = tomllib.loads(document)
    except tomllib.TOMLDecodeError as error:
        place = _PLACE.search(str(error))
        last = document.count("\n") + 1
        line = int(place[1]) if place and place[1] else last
        text = _PLACE.sub("", str(error))
        hint = "is the closing quote missing?" if text == "Illegal character '\\n'" else ""
        reading.problem(line, "", f"not TOML: {text}", hint)
        return reading
    except (ValueError, RecursionError):  # raised by tomllib too, though it does not say so
        reading.problem(0, "", "not TOML: a number is too long, or arrays are nested too deep")
        return reading
    lines = key_lines(document)
    for name, raw in tree.items():
        if name == HOOK_TABLE:
            read_hook_tables(reading, lines, raw)
        elif name == ROUTE_TABLE:
            read_route_tables(reading, lines, raw)
        elif name == RELAY_TABLE:
            read_relay_tables(reading, lines, raw)
        elif name in SECTIONS:
            _read_section(reading, lines, name, raw)
        else:
            _read_key(reading, lines, (name,), raw)
    return reading


def read_overrides(overrides: Sequence[str]) -> Reading:
    """What `--set KEY=VALUE` options say, the last of a key counting; never raises."""
    reading = Reading(OVERRIDES)
    for override in overrides:
        name, equals, text = override.partition("=")
        name = name.strip()
        if not equals:
            reading.problem(0, "", f"{override!r} has no =", "write KEY=VALUE")
        elif name not in KEYS:
            reading.problem(0, name, "there is no such key", _meant(name))
        else:
            reading.add(KEYS[name], 0, partial(convert_text, KEYS[name], text.strip()))
    return reading


def _read_section(reading: Reading, lines: dict[Path, int], section: str, raw: Any) -> None:
    if not isinstance(raw, dict):
        text = f"{section} is a table, not a value"
        reading.problem(lines[section,], section, text, f"write [{section}] above its keys")
        return
    for name, value in raw.items():
        _read_key(reading, lines, (section, name), value)


def _read_key(reading: Reading, lines: dict[Path, int], path: tuple[str, ...], raw: Any) -> None:
    name = ".".join(path)
    if key := KEYS.get(name):
        reading.add(key, lines[path], partial(convert, key, raw))
    elif len(path) == 1 and isinstance(raw, dict):
        near = nearest(name, SECTIONS)
        hint = f"did you mean [{near}]?" if near else f"tables are {', '.join(SECTIONS)}"
        reading.problem(lines[path], name, "there is no such table", hint)
    else:
        reading.problem(lines[path], name, "there is no such key", _meant(name))


def _meant(name: str) -> str:
    """A hint at the key that `name` most likely stands for."""
    last = name.rpartition(".")[2]
    if last in RELEVO_NAMES:
        return f"chasquid's {last} is {RELEVO_NAMES[last]} here"
    same_field = [key.name for key in KEYS.values() if key.field == last]
    if len(same_field) == 1:
        return f"did you mean {same_field[0]}?"
    section = name.partition(".")[0]
    siblings = tuple(key.name for key in KEYS.values() if key.section == section)
    near = nearest(name, siblings) or nearest(name, tuple(KEYS))
    if not near:
        fields = {key.field: key.name for key in KEYS.values()}
        near = fields.get(nearest(last, tuple(fields)), "")
    return f"did you mean {near}?" if near else ""
