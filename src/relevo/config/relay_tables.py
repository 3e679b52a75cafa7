"""Reader of the `[[relay_domain]]` tables of `relevo.toml`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relevo.config.array_tables import read_table, tables_of
from relevo.config.convert import BadValue
from relevo.config.relay_model import DeclaredRelayDomain
from relevo.config.schema import RELAY_KEYS, RELAY_TABLE
from relevo.mail import InvalidAddress, normalize_domain

if TYPE_CHECKING:
    from relevo.config.settings import Reading
    from relevo.config.toml_lines import Path

MAX_DOMAINS = 10_000


def read_relay_tables(reading: Reading, lines: dict[Path, int], raw: Any) -> None:
    """Add every declared domain to `reading`, or what is wrong with it."""
    tables = tables_of(reading, lines, raw, name=RELAY_TABLE, what="domains", most=MAX_DOMAINS)
    for index, table in enumerate(tables):
        values, found = read_table(
            reading.file, lines, (RELAY_TABLE, index), table, RELAY_KEYS, rules={"domain": _domain}
        )
        declared = DeclaredRelayDomain(**values)
        if not declared.domain and not found.problems:
            line = lines[RELAY_TABLE, index]
            found.problem(line, f"{RELAY_TABLE}.domain", "it is needed", 'domain = "example.org"')
        reading.problems += found.problems
        reading.relay_domains.append(declared)


def _domain(value: str) -> str:
    """Raises BadValue."""
    try:
        return normalize_domain(value)
    except InvalidAddress as error:
        raise BadValue(f"{value!r} is no domain", 'for example "example.org"') from error
