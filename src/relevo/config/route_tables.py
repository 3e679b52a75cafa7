"""Reader of the `[[route]]` tables of `relevo.toml`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from relevo.config import outbound_rules
from relevo.config.convert import convert, nearest
from relevo.config.outbound_model import DeclaredRoute
from relevo.config.schema import ROUTE_KEYS, ROUTE_TABLE
from relevo.config.settings import Reading

if TYPE_CHECKING:
    from relevo.config.toml_lines import Path

MAX_ROUTES = 1000

_RULES: dict[str, Callable[[Any], Any]] = {
    "recipients": outbound_rules.domain_patterns,
    "senders": outbound_rules.domain_patterns,
    "servers": outbound_rules.servers,
    "source_address": outbound_rules.source_address,
}


def read_route_tables(reading: Reading, lines: dict[Path, int], raw: Any) -> None:
    """Add every declared route to `reading`, or what is wrong with it."""
    line = lines[ROUTE_TABLE,]
    if not isinstance(raw, list) or not all(isinstance(table, dict) for table in raw):
        hint = f"write [[{ROUTE_TABLE}]] above its keys"
        reading.problem(line, ROUTE_TABLE, "not an array of tables", hint)
        return
    if len(raw) > MAX_ROUTES:
        text = f"{len(raw)} routes are declared"
        reading.problem(line, ROUTE_TABLE, text, f"at most {MAX_ROUTES}")
        return
    for index, table in enumerate(raw):
        _read_table(reading, lines, index, table)


def _read_table(
    reading: Reading, lines: dict[Path, int], index: int, table: dict[str, Any]
) -> None:
    found = Reading(reading.file)
    for name, value in table.items():
        line = lines[ROUTE_TABLE, index, name]
        if key := ROUTE_KEYS.get(name):
            found.add(key, line, partial(_value, name, partial(convert, key, value)))
        else:
            near = nearest(name, tuple(ROUTE_KEYS))
            hint = f"did you mean {near}?" if near else f"keys are {', '.join(ROUTE_KEYS)}"
            found.problem(line, f"{ROUTE_TABLE}.{name}", "there is no such key", hint)
    route = DeclaredRoute(**{setting.key.field: setting.value for setting in found.settings})
    line = lines[ROUTE_TABLE, index]
    if not route.servers and not found.problems:
        for name in ("protocol", "tls", "credentials"):
            if name in table:
                text = "it says something of servers, but there are none"
                found.problem(line, f"{ROUTE_TABLE}.{name}", text, "name servers")
    reading.problems += found.problems
    reading.routes.append(route)


def _value(name: str, read: Callable[[], Any]) -> Any:
    """Raises BadValue."""
    rule = _RULES.get(name)
    return read() if rule is None else rule(read())
