"""Reader of the `[[relay_domain]]` tables of `relevo.toml`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from relevo.config.convert import BadValue, convert, nearest
from relevo.config.relay_model import DeclaredRelayDomain
from relevo.config.schema import RELAY_KEYS, RELAY_TABLE
from relevo.config.settings import Reading
from relevo.mail import InvalidAddress, normalize_domain

if TYPE_CHECKING:
    from collections.abc import Callable

    from relevo.config.toml_lines import Path

MAX_DOMAINS = 10_000


def read_relay_tables(reading: Reading, lines: dict[Path, int], raw: Any) -> None:
    """Add every declared domain to `reading`, or what is wrong with it."""
    line = lines[RELAY_TABLE,]
    if not isinstance(raw, list) or not all(isinstance(table, dict) for table in raw):
        hint = f"write [[{RELAY_TABLE}]] above its keys"
        reading.problem(line, RELAY_TABLE, "not an array of tables", hint)
        return
    if len(raw) > MAX_DOMAINS:
        text = f"{len(raw)} domains are declared"
        reading.problem(line, RELAY_TABLE, text, f"at most {MAX_DOMAINS}")
        return
    for index, table in enumerate(raw):
        _read_table(reading, lines, index, table)


def _read_table(
    reading: Reading, lines: dict[Path, int], index: int, table: dict[str, Any]
) -> None:
    found = Reading(reading.file)
    for name, value in table.items():
        line = lines[RELAY_TABLE, index, name]
        if key := RELAY_KEYS.get(name):
            found.add(key, line, partial(_value, name, partial(convert, key, value)))
        else:
            near = nearest(name, tuple(RELAY_KEYS))
            hint = f"did you mean {near}?" if near else f"keys are {', '.join(RELAY_KEYS)}"
            found.problem(line, f"{RELAY_TABLE}.{name}", "there is no such key", hint)
    declared = DeclaredRelayDomain(
        **{setting.key.field: setting.value for setting in found.settings}
    )
    if not declared.domain and not found.problems:
        line = lines[RELAY_TABLE, index]
        found.problem(line, f"{RELAY_TABLE}.domain", "it is needed", 'domain = "example.org"')
    reading.problems += found.problems
    reading.relay_domains.append(declared)


def _value(name: str, read: Callable[[], Any]) -> Any:
    """Raises BadValue."""
    value = read()
    if name != "domain":
        return value
    try:
        return normalize_domain(value)
    except InvalidAddress as error:
        raise BadValue(f"{value!r} is no domain", 'for example "example.org"') from error
