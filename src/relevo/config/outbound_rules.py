"""What values about mail to other servers must be, beyond their type."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from relevo.config.convert import BadValue
from relevo.config.listen_address import BadListenAddress, ListenAddress, parse_listen_address
from relevo.config.units import DURATION_HINT, parse_duration
from relevo.mail import InvalidAddress, domain_to_ascii, normalize_domain

if TYPE_CHECKING:
    from pathlib import Path

MAX_SERVERS = 10
MAX_RETRY_STEPS = 50
_SERVER_HINT = 'for example "mail.example.net", "mail.example.net:587" or "[2001:db8::25]:587"'


def parse_server(text: str) -> ListenAddress:
    """Host and port of `host`, `host:port` or `[v6]:port`; port 0 where none is named.

    Raises BadValue.
    """
    has_port = ":" in text and not text.endswith("]")
    try:
        address = parse_listen_address(text if has_port else f"{text}:0")
    except BadListenAddress as error:
        raise BadValue(f"{text!r} does not name a server", _SERVER_HINT) from error
    if address is None or not address.host or (has_port and not address.port):
        raise BadValue(f"{text!r} does not name a server", _SERVER_HINT)
    return address


def servers(values: tuple[str, ...], _config_dir: Path | None = None) -> tuple[str, ...]:
    """A list of servers, tried in order."""
    if len(values) > MAX_SERVERS:
        raise BadValue(f"{len(values)} servers are named", f"at most {MAX_SERVERS}")
    for value in values:
        parse_server(value)
    return tuple(dict.fromkeys(values))


def source_addresses(values: tuple[str, ...], _config_dir: Path | None = None) -> tuple[str, ...]:
    """At most one address of each family."""
    try:
        addresses = [ip_address(value) for value in values]
    except ValueError as error:
        raise BadValue(str(error), "for example 192.0.2.25 or 2001:db8::25") from error
    if len({address.version for address in addresses}) < len(addresses):
        raise BadValue("more than one address of a family", "one IPv4 and one IPv6 address")
    return tuple(map(str, addresses))


def retry_steps(values: tuple[str, ...], _config_dir: Path | None = None) -> tuple[str, ...]:
    """Growing durations of at least a second."""
    if not 1 <= len(values) <= MAX_RETRY_STEPS:
        raise BadValue(f"{len(values)} steps", f"from 1 to {MAX_RETRY_STEPS} durations")
    before = 0.0
    for value in values:
        try:
            seconds = parse_duration(value).total_seconds()
        except ValueError as error:
            raise BadValue(str(error), DURATION_HINT) from error
        if seconds < 1 or seconds <= before:
            raise BadValue(f"{value} is no step", "at least 1s, each longer than the one before")
        before = seconds
    return values


def domain_patterns(values: tuple[str, ...], _config_dir: Path | None = None) -> tuple[str, ...]:
    """Domains, `*.domain` for all below one, or `*`; in A-labels."""
    return tuple(dict.fromkeys(map(_pattern, values)))


def domain_names(values: tuple[str, ...], _config_dir: Path | None = None) -> tuple[str, ...]:
    """Domains, in A-labels."""
    names = tuple(dict.fromkeys(map(_pattern, values)))
    for name in names:
        if "*" in name:
            raise BadValue(f"{name!r} is no domain", 'for example "example.org"')
    return names


def _pattern(text: str) -> str:
    if text == "*":
        return text
    star = "*." if text.startswith("*.") else ""
    try:
        return star + domain_to_ascii(normalize_domain(text.removeprefix(star)))
    except InvalidAddress as error:
        hint = 'for example "example.org", "*.example.org" or "*"'
        raise BadValue(f"{text!r} is no domain", hint) from error


def source_address(value: str, _config_dir: Path | None = None) -> str:
    """One address of this machine, or none."""
    if not value:
        return value
    try:
        return str(ip_address(value))
    except ValueError as error:
        raise BadValue(f"{value!r} is no address", "for example 192.0.2.25") from error
