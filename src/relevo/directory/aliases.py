"""The `aliases` file of a domain: a line-based list of names and where their mail goes.

    name: target, target             addresses, of this domain when they have no @
    name: address via host/host      that address, through these servers
    name: | command argument         a command that gets the message
    *: target                        for every name that is nobody else's

Blank lines and lines that start with `#` say nothing. The last line of a name counts. A target
`*` or `*@domain` keeps the user part of the address that is being resolved.

`parse_targets` reads a right-hand side alone; the output of hooks has the same syntax.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from relevo.directory.problems import FileError, FileProblem
from relevo.directory.values import MailTarget, PipeTarget, Target, ViaTarget
from relevo.mail.address import (
    Address,
    InvalidAddress,
    InvalidUser,
    normalize_local_address,
    normalize_user,
    parse_address,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from relevo.directory.local_part import LocalPartRules

MAX_LINE = 64 * 1024
"""Longest line, octets."""

MAX_PROBLEMS = 20
"""Wrong lines of one file that are named."""

ANY_USER = "*"
"""The name of the catch-all entry, and the target that keeps the user part."""

Aliases = dict[str, tuple[Target, ...]]


class InvalidTargets(ValueError):
    """A right-hand side that cannot be understood; the text says why."""


def parse_aliases(
    data: bytes, *, domain: str, rules: LocalPartRules, path: Path
) -> Mapping[str, tuple[Target, ...]]:
    """Entries of the file by exact local part (see LocalPartRules), `*` for the catch-all.

    An entry without targets has an empty tuple and counts as absent. Raises FileError
    with every wrong line.
    """
    entries: Aliases = {}
    problems: list[FileProblem] = []
    for number, line in enumerate(data.split(b"\n"), start=1):
        try:
            entry = _parse_line(line, domain)
        except InvalidTargets as error:
            problems.append(FileProblem(path, number, str(error)))
            if len(problems) == MAX_PROBLEMS:
                break
        else:
            if entry is not None:
                name, targets = entry
                entries[_entry_key(name, rules)] = targets
    if problems:
        raise FileError(*problems)
    return MappingProxyType(entries)


def _parse_line(line: bytes, domain: str) -> tuple[str, tuple[Target, ...]] | None:
    """Name and targets; None where the line says nothing. Raises InvalidTargets."""
    if len(line) > MAX_LINE:
        raise InvalidTargets(f"line longer than {MAX_LINE} octets")
    try:
        text = line.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise InvalidTargets("not UTF-8 text") from error
    return None if not text or text.startswith("#") else _parse_entry(text, domain)


def _parse_entry(text: str, domain: str) -> tuple[str, tuple[Target, ...]]:
    name, colon, right = text.partition(":")
    name, right = name.strip(), right.strip()
    if not colon:
        raise InvalidTargets("no ':' between the alias and its targets")
    if not name:
        raise InvalidTargets("no alias before the ':'")
    if not right:
        raise InvalidTargets("no target after the ':'")
    if "@" in name:
        raise InvalidTargets(f"alias {name!r} has an '@'; write only the part before it")
    return name, parse_targets(right, domain)


def _entry_key(name: str, rules: LocalPartRules) -> str:
    try:
        return rules.exact(normalize_user(name))
    except InvalidUser:
        return name  # no address of ours has this form, so it never matches


def parse_targets(text: str, domain: str) -> tuple[Target, ...]:
    """Targets of a right-hand side; `domain` completes addresses without one.

    Empty items count for nothing, so the result may be empty. Raises InvalidTargets.
    """
    text = text.strip()
    if text.startswith("|"):
        words = tuple(text[1:].split())
        if not words:
            raise InvalidTargets("no command after the '|'")
        return (PipeTarget(words),)
    items = (item.strip() for item in text.split(","))
    return tuple(_parse_item(item, domain) for item in items if item)


def _parse_item(item: str, domain: str) -> Target:
    address_text, via, server_text = item.partition(" via ")
    address = _parse_target_address(address_text.strip(), domain)
    if not via:
        return MailTarget(address)
    servers = tuple(server.strip() for server in server_text.split("/"))
    if not all(servers):
        raise InvalidTargets(f"an empty server name after 'via' in {item!r}")
    return ViaTarget(address, servers)


def _parse_target_address(text: str, domain: str) -> Address:
    try:
        address = parse_address(text, domain)
        if not address.local or not address.domain:
            raise InvalidTargets(f"target {text!r}: not an address")
        return normalize_local_address(address)
    except InvalidAddress as error:
        hint = "; a command must be the only target of its alias" if text.startswith("|") else ""
        raise InvalidTargets(f"target {text!r}: {error}{hint}") from error
