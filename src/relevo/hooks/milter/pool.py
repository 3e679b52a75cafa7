"""Calls of a filter, over connections that are negotiated once and serve one message at a time.

A connection is a session of one client, as the protocol has it: the next message of the same client
goes on behind its HELO. (There is a command for another client on the same connection, but with
libmilter the filter hears of the first one only.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from relevo.hooks.contract import PostDataContext
from relevo.hooks.milter.agreement import Agreement, read_agreement
from relevo.hooks.milter.conversation import Conversation
from relevo.hooks.milter.packets import (
    BODY_PIECE,
    HEAD,
    Command,
    Reply,
    length_of,
    offer,
    packet,
    split_reply,
)
from relevo.hooks.milter.session import SessionTold
from relevo.hooks.services.failures import ServiceFailed
from relevo.hooks.services.pool import Judged, ServicePool, piece_of
from relevo.hooks.wire import How

if TYPE_CHECKING:
    from relevo.config import Config
    from relevo.config.hook_model import DeclaredHook
    from relevo.config.hook_target import ServiceAddress
    from relevo.hooks.contract import Verdict
    from relevo.hooks.services.connection import Connection
    from relevo.hooks.wire import Report

_decode = msgspec.json.Decoder(PostDataContext).decode
MAX_SESSIONS = 64
"""Sessions of clients, of a worker, that are kept open at the filter until their next message."""
_LF_PIECE = BODY_PIECE // 2  # each of its octets may become two


class MilterPool(ServicePool):
    """The calls of one worker to one filter."""

    def __init__(self, declared: DeclaredHook, config: Config, address: ServiceAddress) -> None:
        super().__init__(declared, config, address, most_kept=MAX_SESSIONS)
        self._hostname = config.hostname
        self._max_head = config.limits.header_size * 2  # with what we and other hooks have added
        self._max_body = config.smtp.max_message_size

    async def ask(self, message: int | bytes, context: bytes, _max_output: int) -> Report:
        about = _decode(context)
        head, start = await self._head(message)

        async def exchange(connection: Connection) -> Verdict:
            agreement = await _agreement(connection)
            told = SessionTold(about, self._hostname, agreement)
            conversation = Conversation(
                told, agreement, head, self._max_body, is_first=connection.is_new
            )
            verdict = await _filtered(connection, conversation, message, start)
            connection.may_be_kept = conversation.is_complete
            return verdict

        session = (about.client, about.tls)
        verdict = await self.connections.converse(exchange, session)
        return Judged(How.EXITED, verdict=verdict)

    async def _head(self, message: int | bytes) -> tuple[bytes, int]:
        """The header with CRLF, and where the body begins. Raises ServiceFailed."""
        first = await piece_of(message, 0, self._max_head)
        if first.startswith(b"\n"):
            return b"", 1
        end = first.find(b"\n\n")
        if end < 0:
            if len(first) >= self._max_head:
                raise ServiceFailed("the header is too long for a filter")
            return first.replace(b"\n", b"\r\n"), len(first)
        return first[: end + 1].replace(b"\n", b"\r\n"), end + 2


async def _agreement(connection: Connection) -> Agreement:
    if isinstance(connection.notes, Agreement):
        return connection.notes
    connection.write(offer())
    reply, data = await _receive(connection)
    if reply is not Reply.NEGOTIATE:
        raise ServiceFailed(f"it answers the negotiation with {reply.name}")
    connection.notes = agreement = read_agreement(data)
    connection.farewell = packet(Command.QUIT)
    return agreement


async def _receive(connection: Connection) -> tuple[Reply, bytes]:
    return split_reply(await connection.counted(HEAD, length_of))


async def _filtered(
    connection: Connection,
    conversation: Conversation,
    message: int | bytes,
    offset: int,
) -> Verdict:
    """The verdict, once the filter has one."""
    waiting = conversation.opening()
    while conversation.wants_body and (piece := await piece_of(message, offset, _LF_PIECE)):
        offset += len(piece)
        waiting += conversation.body(piece.replace(b"\n", b"\r\n"))
        if len(piece) < _LF_PIECE:
            break
        connection.write(waiting)
        waiting = b""
        await connection.drain()
        while conversation.awaits:
            if (verdict := conversation.take(*await _receive(connection))) is not None:
                return verdict
    connection.write(waiting + conversation.end())
    while True:
        if (verdict := conversation.take(*await _receive(connection))) is not None:
            return verdict
