"""A name server within the test's own loop that answers as the test tells it to."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from relevo.dns import NameServer

Reply = Callable[[dns.message.Message], list[bytes]]


@dataclass
class Stub:
    """`asked` has the transport and name of each question, in the order of arrival."""

    server: NameServer
    asked: list[tuple[str, str]] = field(default_factory=list)
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)


def reply_to(
    query: dns.message.Message,
    *records: str,
    authority: tuple[str, ...] = (),
    rcode: dns.rcode.Rcode = dns.rcode.NOERROR,
    flags: int = 0,
) -> dns.message.Message:
    """A reply; records and authority as `name ttl IN TYPE data`."""
    reply = dns.message.make_response(query)
    reply.flags |= flags
    reply.set_rcode(rcode)
    for section, lines in ((reply.answer, records), (reply.authority, authority)):
        for line in lines:
            name, ttl, kind, rdtype, data = line.split(" ", 4)
            section.append(dns.rrset.from_text(name, int(ttl), kind, rdtype, data))
    return reply


def replies(
    *records: str, authority: tuple[str, ...] = (), rcode: int = 0, flags: int = 0
) -> Reply:
    """Always the same reply to whatever is asked."""

    def reply(query: dns.message.Message) -> list[bytes]:
        code = dns.rcode.Rcode(rcode)
        message = reply_to(query, *records, authority=authority, rcode=code, flags=flags)
        return [message.to_wire()]

    return reply


@asynccontextmanager
async def stub_server(
    over_udp: Reply, over_tcp: Reply | None = None, *, is_trusted: bool = False
) -> AsyncIterator[Stub]:
    """Listens on one port; each reply may be any number of datagrams or, over TCP, octets."""
    stub: Stub
    loop = asyncio.get_running_loop()

    class Datagrams(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            query = dns.message.from_wire(data)
            stub.asked.append(("udp", str(query.question[0].name)))
            stub.was_asked.set()
            for answer in over_udp(query):
                udp.sendto(answer, addr)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        query = dns.message.from_wire(await reader.readexactly(length))
        stub.asked.append(("tcp", str(query.question[0].name)))
        assert over_tcp is not None
        for answer in over_tcp(query):
            writer.write(struct.pack("!H", len(answer)) + answer)
        writer.close()

    tcp = await asyncio.start_server(connected, "127.0.0.1", 0)
    host, port = tcp.sockets[0].getsockname()
    udp, _ = await loop.create_datagram_endpoint(Datagrams, local_addr=(host, port))
    stub = Stub(NameServer(host, port, is_trusted))
    try:
        yield stub
    finally:
        udp.close()
        tcp.close()
        await tcp.wait_closed()
