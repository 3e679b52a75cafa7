"""Where a mailbox is: `/var/mail/relevo/{domain}/{user}` and an address → path components.

The pattern's fixed part (the directories in front of the first placeholder) is the operator's and
is opened as it stands. What comes below it holds octets that strangers chose: each value is escaped
so that it is exactly one path component, or a part of one, and never `.`, `..` or a hidden file.

Escaped, as %XX of the UTF-8 octets: `/`, NUL, `%`, other control characters (C0, DEL, C1), and a
leading dot. The mapping is one to one, so two addresses never share a mailbox through it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

MAX_VALUE_OCTETS = 200
MAX_COMPONENT_OCTETS = 255

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_UNSAFE = re.compile(r"[/%\x00-\x1f\x7f-\x9f]|^\.")


class InvalidPattern(ValueError):
    """Not a pattern for mailboxes; the text says why."""


class InvalidMailboxName(ValueError):
    """An address that cannot name a mailbox: empty, too long, or no text."""


def _escape_character(match: re.Match[str]) -> str:
    return "".join(f"%{octet:02X}" for octet in match[0].encode())


@lru_cache(maxsize=8192)
def escape_name(value: str) -> str:
    """A user or domain as (part of) a path component. Raises InvalidMailboxName."""
    if not value:
        raise InvalidMailboxName("the mailbox name is empty")
    escaped = _UNSAFE.sub(_escape_character, value)
    try:
        octets = len(escaped.encode())
    except UnicodeEncodeError as error:
        raise InvalidMailboxName("the mailbox name is not valid text") from error
    if octets > MAX_VALUE_OCTETS:
        raise InvalidMailboxName("the mailbox name is too long")
    return escaped


@dataclass(frozen=True, slots=True)
class MailboxPattern:
    """A parsed pattern. `below`: components under `fixed`, with their placeholders."""

    fixed: Path
    below: tuple[str, ...]

    def components(self, user: str, domain: str) -> tuple[str, ...]:
        """The mailbox's path below `fixed`. Raises InvalidMailboxName."""
        values = {"user": user, "domain": domain}
        made = tuple(
            _PLACEHOLDER.sub(lambda match: escape_name(values[match[1]]), component)
            for component in self.below
        )
        if any(len(component.encode()) > MAX_COMPONENT_OCTETS for component in made):
            raise InvalidMailboxName("the mailbox name is too long")
        return made


def parse_pattern(text: str) -> MailboxPattern:
    """The pattern of `maildir:PATTERN`, an absolute path. Raises InvalidPattern."""
    if not text.startswith("/"):
        raise InvalidPattern(f"the Maildir pattern {text!r} is not an absolute path")
    components = [component for component in text.split("/") if component]
    if not components:
        raise InvalidPattern("the Maildir pattern names the root directory")
    for component in components:
        for match in _PLACEHOLDER.finditer(component):
            if match[1] not in {"user", "domain"}:
                raise InvalidPattern(
                    f"the Maildir pattern {text!r} has an unknown placeholder {match[0]}: "
                    "known are {domain} and {user}"
                )
        if component in {".", ".."} or "\0" in component:
            raise InvalidPattern(f"the Maildir pattern {text!r} has a component {component!r}")
        if set(_PLACEHOLDER.sub("", component)) & set("{}"):
            raise InvalidPattern(f"the Maildir pattern {text!r} has a brace without its partner")
    first = next(
        (index for index, component in enumerate(components) if _PLACEHOLDER.search(component)),
        len(components) - 1,
    )
    return MailboxPattern(Path("/", *components[:first]), tuple(components[first:]))
