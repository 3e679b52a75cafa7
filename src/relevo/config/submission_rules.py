"""What values about our users' mail must be, beyond their type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relevo.config.convert import BadValue
from relevo.mail import InvalidAddress, normalize_domain, parse_address

if TYPE_CHECKING:
    from pathlib import Path

ANY_SENDER = "*"
_HINT = 'for example "ada@example.org: sales@example.net @example.com"'


def allowed_senders(values: tuple[str, ...], _config_dir: Path | None = None) -> tuple[str, ...]:
    """`USER: ADDRESS ADDRESS` with all addresses in normal form."""
    return tuple(_allowed(value) for value in values)


def parse_allowed(text: str) -> tuple[str, frozenset[str]]:
    """User and what is allowed to it, of a text in normal form."""
    user, _, senders = text.rpartition(": ")
    return user, frozenset(senders.split())


def _allowed(text: str) -> str:
    user, colon, senders = text.partition(":")
    if not colon or not senders.split():
        raise BadValue(f"{text!r} names no user and addresses", _HINT)
    try:
        return f"{_address(user.strip())}: {' '.join(map(_sender, senders.split()))}"
    except InvalidAddress as error:
        raise BadValue(f"{text!r}: {error}", _HINT) from error


def _sender(text: str) -> str:
    if text == ANY_SENDER:
        return text
    if text.startswith("@"):
        return f"@{normalize_domain(text[1:])}"
    return _address(text)


def _address(text: str) -> str:
    address = parse_address(text)
    if not address.local or not address.domain:
        raise InvalidAddress(f"{text!r} is not an address")
    return address.plain.lower()
