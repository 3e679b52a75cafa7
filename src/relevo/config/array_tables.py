"""Arrays of tables of `relevo.toml`, such as `[[route]]`: each is read and told of the same way."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from relevo.config.convert import convert, nearest
from relevo.config.settings import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from relevo.config.schema import Key
    from relevo.config.toml_lines import Path


def tables_of(
    reading: Reading, lines: dict[Path, int], raw: Any, *, name: str, what: str, most: int
) -> list[dict[str, Any]]:
    """The tables of the array; none, and a problem in `reading`, where it is no array of tables
    or has more than `most`. `what` are they, in the plural?
    """
    line = lines[name,]
    if not isinstance(raw, list) or not all(isinstance(table, dict) for table in raw):
        reading.problem(line, name, "not an array of tables", f"write [[{name}]] above its keys")
        return []
    if len(raw) > most:
        reading.problem(line, name, f"{len(raw)} {what} are declared", f"at most {most}")
        return []
    return raw


def read_table(
    file: str,
    lines: dict[Path, int],
    place: tuple[str, int],
    table: dict[str, Any],
    keys: Mapping[str, Key],
    *,
    rules: Mapping[str, Callable[[Any], Any]] | None = None,
) -> tuple[dict[str, Any], Reading]:
    """Its values by field, and the reading that has what is wrong.

    `place`: the array's name and the table's number in it. `rules`: what is done to the values of
    some keys after their conversion; they raise BadValue.
    """
    name, index = place
    found = Reading(file)
    for word, value in table.items():
        line = lines[name, index, word]
        if key := keys.get(word):
            rule = (rules or {}).get(word)
            found.add(key, line, partial(_value, partial(convert, key, value), rule))
        else:
            near = nearest(word, tuple(keys))
            hint = f"did you mean {near}?" if near else f"keys are {', '.join(keys)}"
            found.problem(line, f"{name}.{word}", "there is no such key", hint)
    return {setting.key.field: setting.value for setting in found.settings}, found


def _value(read: Callable[[], Any], rule: Callable[[Any], Any] | None) -> Any:
    """Raises BadValue."""
    return read() if rule is None else rule(read())
