"""Reader of the `[[route]]` tables of `relevo.toml`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relevo.config import outbound_rules
from relevo.config.array_tables import read_table, tables_of
from relevo.config.outbound_model import DeclaredRoute
from relevo.config.schema import ROUTE_KEYS, ROUTE_TABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from relevo.config.settings import Reading
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
    tables = tables_of(reading, lines, raw, name=ROUTE_TABLE, what="routes", most=MAX_ROUTES)
    for index, table in enumerate(tables):
        values, found = read_table(
            reading.file, lines, (ROUTE_TABLE, index), table, ROUTE_KEYS, rules=_RULES
        )
        route = DeclaredRoute(**values)
        if not route.servers and not found.problems:
            for name in ("protocol", "tls", "credentials"):
                if name in table:
                    text = "it says something of servers, but there are none"
                    line = lines[ROUTE_TABLE, index]
                    found.problem(line, f"{ROUTE_TABLE}.{name}", text, "name servers")
        reading.problems += found.problems
        reading.routes.append(route)
