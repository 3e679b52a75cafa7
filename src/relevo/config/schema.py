"""The keys of `Config` as a flat table, read from the dataclasses once.

Whatever goes over all keys (loaders, `relevo config show`, the reference page) goes over this.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any, get_type_hints

from relevo.config.free_table import FreeTable
from relevo.config.hook_model import DeclaredHook
from relevo.config.model import Config
from relevo.config.outbound_model import DeclaredRoute
from relevo.config.relay_model import DeclaredRelayDomain


class Kind(Enum):
    """What a key holds."""

    TEXT = "text"
    WORDS = "list of texts"
    FLAG = "true or false"
    INTEGER = "integer"
    SIZE = "size"
    SHARE = "number"
    DURATION = "duration"
    PATH = "path"
    TABLE = "table"


@dataclass(frozen=True, slots=True)
class Key:
    """One setting; `name` is dotted, `section` is "" for those outside a table."""

    name: str
    section: str
    field: str
    kind: Kind
    doc: str
    default: Any
    choices: tuple[str, ...]
    least: Any
    most: Any

    def value_in(self, config: Config) -> Any:
        """What `config` has for this key."""
        holder = getattr(config, self.section) if self.section else config
        return getattr(holder, self.field)


def _kind(annotation: Any, unit: str) -> Kind:
    if annotation is int:
        return Kind.SIZE if unit == "bytes" else Kind.INTEGER
    return {
        str: Kind.TEXT,
        tuple[str, ...]: Kind.WORDS,
        bool: Kind.FLAG,
        float: Kind.SHARE,
        timedelta: Kind.DURATION,
        Path: Kind.PATH,
        FreeTable: Kind.TABLE,
    }[annotation]


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _keys() -> tuple[Key, ...]:
    top: list[Key] = []
    nested: list[Key] = []
    hints = get_type_hints(Config)
    for field in dataclasses.fields(Config):
        if dataclasses.is_dataclass(hints[field.name]):
            section = hints[field.name]
            nested += [
                _key(member, field.name, get_type_hints(section)[member.name])
                for member in dataclasses.fields(section)
            ]
        elif field.metadata["doc"]:
            top.append(_key(field, "", hints[field.name]))
    return (*top, *nested)


def _key(field: dataclasses.Field[Any], section: str, annotation: Any) -> Key:
    meta = field.metadata
    return Key(
        name=f"{section}.{field.name}" if section else field.name,
        section=section,
        field=field.name,
        kind=_kind(annotation, meta["unit"]),
        doc=meta["doc"],
        default=_default(field),
        choices=meta["choices"],
        least=meta["least"],
        most=meta["most"],
    )


KEYS = {key.name: key for key in _keys()}
"""Every key by its dotted name: those outside tables first, then table by table."""

HOOK_TABLE = "hook"
"""The array of tables that declares hooks: `[[hook]]`."""

ROUTE_TABLE = "route"
"""The array of tables that declares routes to other servers: `[[route]]`."""

RELAY_TABLE = "relay_domain"
"""The array of tables that declares domains to take mail for: `[[relay_domain]]`."""

HOOK_KEYS = {
    member.name: _key(member, HOOK_TABLE, get_type_hints(DeclaredHook)[member.name])
    for member in dataclasses.fields(DeclaredHook)
}
"""The keys of one `[[hook]]`, by field."""

ROUTE_KEYS = {
    member.name: _key(member, ROUTE_TABLE, get_type_hints(DeclaredRoute)[member.name])
    for member in dataclasses.fields(DeclaredRoute)
}
"""The keys of one `[[route]]`, by field."""

RELAY_KEYS = {
    member.name: _key(member, RELAY_TABLE, get_type_hints(DeclaredRelayDomain)[member.name])
    for member in dataclasses.fields(DeclaredRelayDomain)
}
"""The keys of one `[[relay_domain]]`, by field."""

SECTIONS = tuple(dict.fromkeys(key.section for key in KEYS.values() if key.section))
"""The names of the tables, in the order of `Config`."""


def build(values: Mapping[str, Any], **about: Any) -> Config:
    """The tree with a value for every key of `KEYS`; `about` fills the fields that are no keys."""
    hints = get_type_hints(Config)
    sections = {
        section: hints[section](
            **{key.field: values[key.name] for key in KEYS.values() if key.section == section}
        )
        for section in SECTIONS
    }
    top = {key.field: values[key.name] for key in KEYS.values() if not key.section}
    return Config(**top, **sections, **about)
