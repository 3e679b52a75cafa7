"""Asking a domain's own server at RCPT whether a recipient exists (call-forward).

For domains that we take mail for and pass on (a backup MX): what does not exist there is refused
here, instead of being accepted and sent back to whoever is said to have sent it. Three answers: it
does, it does not, unknown now. Only a 5xx to RCPT itself, after a null reverse-path was accepted,
is a no; everything else that is no yes is unknown. Nothing is sent.

The dialogue is the shortest there is, over TLS where that is offered; certificates are not checked,
since nothing secret is said and a forged no is as easy as a forged address. Every wait together has
one deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from typing import TYPE_CHECKING

from relevo.directory import Existence, UnknownNow
from relevo.mail import Address, InvalidAddress, domain_to_ascii
from relevo.outbound.hosts import NoHost
from relevo.outbound.ways import WayUnusable
from relevo.smtp.buffer import InputBuffer
from relevo.smtp.client_events import FailureKind, ServerReply
from relevo.smtp.reply_reader import ReplyReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from relevo.delivery import RouteTable
    from relevo.outbound.hosts import Finder, MailHosts
    from relevo.outbound.ways import Ways

_log = logging.getLogger(__name__)

_PIECE = 4096


class _NoAnswer(Exception):
    """The server cannot be asked; the text is for the log."""


class CallForward:
    """Asks the servers that mail for an address would go to."""

    def __init__(
        self,
        *,
        routes: RouteTable,
        ways: Ways,
        finder: Callable[[], Finder],
        hello_name: str,
        timeout_s: float,
    ) -> None:
        self._routes = routes
        self._ways = ways
        self._finder = finder
        self._hello_name = hello_name
        self._timeout_s = timeout_s
        # nothing is verified, so no authorities are read, which takes tens of milliseconds
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._tls.check_hostname = False
        self._tls.verify_mode = ssl.CERT_NONE

    async def ask(self, address: Address) -> Existence | UnknownNow:
        """Does it exist there?"""
        why = "no server can be asked"
        try:
            async with asyncio.timeout(self._timeout_s):
                for host in (await self._hosts(address.domain)).hosts:
                    for found in host.addresses:
                        try:
                            return await self._ask_at(str(found), host.port, address)
                        except (_NoAnswer, OSError, ssl.SSLError) as error:
                            why = f"{host.name} ({found}): {error}"
        except TimeoutError:
            why = f"no answer within {self._timeout_s:g} s; before that: {why}"
        except (NoHost, WayUnusable, InvalidAddress) as error:
            why = str(error)
        return UnknownNow(why)

    async def _hosts(self, domain: str) -> MailHosts:
        route = self._routes.for_sender("")(domain)
        way = self._ways.of_route(route, domain, "")
        finder = self._finder()
        return await (finder.of_servers(way.servers) if way.servers else finder.of_domain(domain))

    async def _ask_at(self, host: str, port: int, address: Address) -> Existence:
        """Raises _NoAnswer, OSError."""
        reader, writer = await asyncio.open_connection(host, port)
        dialogue = _Dialogue(reader, writer)
        try:
            _expect(await dialogue.reply(), 220)
            offers = await dialogue.hello(self._hello_name)
            if "STARTTLS" in offers:
                _expect(await dialogue.ask("STARTTLS"), 220)
                dialogue.expect_silence()
                await writer.start_tls(self._tls)
                offers = await dialogue.hello(self._hello_name)
            path, parameter = _path(address, takes_utf8="SMTPUTF8" in offers)
            _expect(await dialogue.ask(f"MAIL FROM:<>{parameter}"), 250)
            reply = await dialogue.ask(f"RCPT TO:<{path}>")
            with contextlib.suppress(OSError):
                writer.write(b"QUIT\r\n")
                await writer.drain()
        finally:
            writer.close()
        if reply.is_positive:
            return Existence.FOUND
        if reply.code >= 500:
            return Existence.ABSENT
        raise _NoAnswer(f"{reply.code} {reply.text}")


class _Dialogue:
    """Commands and their replies."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._buffer = InputBuffer()
        self._replies = ReplyReader()

    async def hello(self, name: str) -> set[str]:
        """EHLO, or HELO where that is not known; the extensions that are offered."""
        reply = await self.ask(f"EHLO {name}")
        if reply.code >= 500:
            _expect(await self.ask(f"HELO {name}"), 250)
            return set()
        _expect(reply, 250)
        return {line.split(" ", 1)[0].upper() for line in reply.lines[1:]}

    def expect_silence(self) -> None:
        """Nothing that came in clear counts behind STARTTLS. Raises _NoAnswer."""
        if len(self._buffer):
            raise _NoAnswer("the server sent more than its reply to STARTTLS")

    async def ask(self, command: str) -> ServerReply:
        self._writer.write(f"{command}\r\n".encode())
        await self._writer.drain()
        return await self.reply()

    async def reply(self) -> ServerReply:
        while True:
            found = self._replies.read(self._buffer)
            if isinstance(found, FailureKind):
                raise _NoAnswer(f"no SMTP reply ({found.name.lower()})")
            if found is not None:
                return found
            data = await self._reader.read(_PIECE)
            if not data:
                raise _NoAnswer("the server closed the connection")
            self._buffer.append(data)


def _expect(reply: ServerReply, code: int) -> None:
    if reply.code != code:
        raise _NoAnswer(f"{reply.code} {reply.text}")


def _path(address: Address, *, takes_utf8: bool) -> tuple[str, str]:
    """The forward-path and what MAIL needs for it. Raises _NoAnswer, InvalidAddress."""
    if address.is_ascii:
        return str(address), ""
    if takes_utf8:
        return str(address), " SMTPUTF8"
    if not address.local.isascii():
        raise _NoAnswer("the address needs SMTPUTF8")
    return str(Address(address.local, domain_to_ascii(address.domain))), ""
