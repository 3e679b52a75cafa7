"""Aliases in a directory that speaks LDAP.

Entries below `base` that `filter` finds are those of the address; each value of `attribute` is a
target. The filter may name `{address}`, `{user}` and `{domain}` of the address that is looked up,
which are escaped. Nothing found is no alias. May be declared at alias-resolve and alias-exists.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Literal

from relevo.hook import (
    AliasContext,
    AliasExistsVerdict,
    AliasResolveVerdict,
    Settings,
    secret,
    settings,
)
from relevo.hook.ready import ldap_messages as ldap

_MAX_ENTRIES = 1000
_MAX_ANSWER = 4 * 1024 * 1024
_PIECE = 64 * 1024
_BIND, _SEARCH, _UNBIND = 1, 2, 3


class DirectoryFailed(Exception):
    """The directory does not answer, or not as asked; the text says what it says."""


class LdapAliasesSettings(Settings, frozen=True):
    """`server`: `ldap://HOST:PORT`, `ldaps://HOST:PORT`, or `unix:/PATH`.

    `name` and `password_file`: as whom to ask; both empty: as anybody. `ca_file`: certificates that
    `ldaps` is verified with; empty: those of the system.
    """

    base: str
    server: str = "ldap://127.0.0.1:389"
    filter: str = "(mail={address})"
    attribute: str = "mailForwardingAddress"
    scope: Literal["base", "one", "sub"] = "sub"
    name: str = ""
    password_file: str = ""
    ca_file: str = ""
    timeout: float = 4.0


async def alias_resolve(context: AliasContext) -> AliasResolveVerdict:
    found = await targets(settings(LdapAliasesSettings), context.address)
    return AliasResolveVerdict(targets=found)


async def alias_exists(context: AliasContext) -> AliasExistsVerdict:
    found = await targets(settings(LdapAliasesSettings), context.address)
    return AliasExistsVerdict(exists=bool(found))


async def targets(chosen: LdapAliasesSettings, address: str) -> list[str]:
    """What stands in the directory. Raises DirectoryFailed."""
    try:
        async with asyncio.timeout(chosen.timeout):
            reader, writer = await _connect(chosen)
            try:
                return await _search(chosen, address, reader, writer)
            finally:
                writer.close()
    except TimeoutError as error:
        raise DirectoryFailed(f"no answer within {chosen.timeout:g} s") from error
    except OSError as error:
        raise DirectoryFailed(f"{chosen.server}: {error.strerror or error}") from error
    except ldap.BadMessage as error:
        raise DirectoryFailed(f"{chosen.server} speaks no LDAP: {error}") from error


def filter_for(template: str, address: str) -> str:
    """The filter of an address, which cannot end a value early."""
    user, _, domain = address.rpartition("@")
    for name, value in (("address", address), ("user", user), ("domain", domain)):
        template = template.replace(f"{{{name}}}", ldap.escaped(value))
    return template


async def _connect(
    chosen: LdapAliasesSettings,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if chosen.server.startswith("unix:"):
        return await asyncio.open_unix_connection(chosen.server.removeprefix("unix:"))
    kind, _, place = chosen.server.partition("://")
    host, colon, port = place.rstrip("/").rpartition(":")
    if not colon:
        host, port = place.rstrip("/"), "636" if kind == "ldaps" else "389"
    if kind not in {"ldap", "ldaps"} or not port.isdecimal():
        raise DirectoryFailed(f"{chosen.server!r} is no ldap://HOST:PORT")
    host = host.strip("[]")
    tls = ssl.create_default_context(cafile=chosen.ca_file or None) if kind == "ldaps" else None
    return await asyncio.open_connection(
        host, int(port), ssl=tls, server_hostname=host if tls else None
    )


async def _search(
    chosen: LdapAliasesSettings,
    address: str,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> list[str]:
    answers = _answers(reader)
    password = secret(chosen.password_file) if chosen.password_file else ""
    if chosen.name:
        writer.write(ldap.bind_request(_BIND, chosen.name, password))
        _check(await anext(answers), ldap.BIND_RESPONSE)
    writer.write(
        ldap.search_request(
            _SEARCH, chosen.base, chosen.scope, filter_for(chosen.filter, address),
            [chosen.attribute], limit=_MAX_ENTRIES,
        )
    )  # fmt: skip
    found: list[str] = []
    async for message in answers:
        if message.tag == ldap.SEARCH_ENTRY:
            found += ldap.values_of(message.body).get(chosen.attribute.lower(), [])
        elif message.tag != ldap.SEARCH_REFERENCE:
            _check(message, ldap.SEARCH_DONE)
            break
    writer.write(ldap.unbind_request(_UNBIND))
    return [target for target in dict.fromkeys(found) if target.strip()]


def _check(message: ldap.Message, tag: int) -> None:
    if message.tag != tag:
        raise DirectoryFailed(f"an answer of kind {message.tag:#x} was not expected")
    code, text = ldap.result_of(message.body)
    if code not in {ldap.SUCCESS, ldap.NO_SUCH_OBJECT}:
        raise DirectoryFailed(f"result {code}: {text[:200]}")


async def _answers(reader: asyncio.StreamReader) -> AsyncIterator[ldap.Message]:
    buffer, total = bytearray(), 0
    while piece := await reader.read(_PIECE):
        total += len(piece)
        if total > _MAX_ANSWER:
            raise DirectoryFailed(f"the answer has more than {_MAX_ANSWER} octets")
        buffer += piece
        for message in ldap.messages(buffer):
            yield message
    raise DirectoryFailed("the connection was closed before the answer was complete")
