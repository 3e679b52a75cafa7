"""Delivery over LMTP (`local = "lmtp:…"`, RFC 2033), for Dovecot and its like.

The recipients of a unit share a transaction, at most 100 of them, and each gets an answer of its
own. Whether a mailbox exists is the server's to say; no users file is asked. Return-Path and
Delivered-To are the server's to write.

4xx is temporary, 5xx permanent; no connection, a refused hello, a deadline or a connection lost
are temporary, after the final dot too: then the message may arrive twice, but is never lost. A
connection that was kept and on which nothing was answered is replaced at once by a new one, since
a server closes what is idle.

DSN parameters are not passed on: this is the last hop, and tells the sender itself.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from relevo.delivery.attempt import Result, permanent, temporary
from relevo.delivery.letter import CannotBeSent, Letter, body_of, path_for
from relevo.delivery.link_pool import LinkPool
from relevo.delivery.link_values import LinkFailed, Server, Transacted
from relevo.delivery.peer_link import open_link
from relevo.journal import Outcome
from relevo.smtp import ClientSettings, Outgoing, OutgoingRecipient
from relevo.smtp.events import BodyType, MailParameters, Path
from relevo.smtp.outgoing_body import BareLineEnd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relevo.delivery.attempt import Attempt
    from relevo.delivery.peer_link import PeerLink
    from relevo.queue.store import QueuedRecipient, Unit
    from relevo.smtp.client_events import RecipientResult

_log = logging.getLogger(__name__)

MAX_RECIPIENTS = 100  # a transaction; every server takes as many (RFC 5321 §4.5.3.1.8)


def parse_server(text: str) -> Server:
    """`/path/to/socket`, `host:port` or `[v6]:port`, as the configuration has it."""
    if text.startswith("/"):
        return Server(path=text)
    host, _, port = text.rpartition(":")
    return Server(host=host.strip("[]"), port=int(port))


class LmtpAgent:
    """Serves route `local` by an LMTP server."""

    name = "lmtp"

    def __init__(self, server: Server, hostname: str, connections: int) -> None:
        """`connections`: at most as many at once. Nothing is connected before it is needed."""
        self._server = server
        settings = ClientSettings(hello_name=hostname, is_lmtp=True)
        self._links = LinkPool(partial(open_link, server, settings), connections)

    async def attempt(self, attempt: Attempt) -> Sequence[Result]:
        results: list[Result] = []
        recipients = attempt.recipients
        for start in range(0, len(recipients), MAX_RECIPIENTS):
            results += await self._deliver(attempt.unit, recipients[start : start + MAX_RECIPIENTS])
        return results

    def close(self) -> None:
        """Close the connections, those in use when their transaction is over."""
        self._links.close()

    async def _deliver(self, unit: Unit, recipients: Sequence[QueuedRecipient]) -> Sequence[Result]:
        """One transaction, tried again when a kept connection turns out to be dead."""
        while True:
            try:
                link, was_used = await self._links.take()
            except LinkFailed as error:
                _log.warning("%s: LMTP to %s: %s", unit.message_id, self._server, error)
                text = f"the mailbox server cannot be used: {error}"
                return [temporary("4.4.1", text)] * len(recipients)
            try:
                results, is_unheard = await self._transact(link, unit, recipients)
            finally:
                self._links.give_back(link)
            if not (was_used and is_unheard):
                return results
            self._links.forget_idle()

    async def _transact(
        self, link: PeerLink, unit: Unit, recipients: Sequence[QueuedRecipient]
    ) -> tuple[Sequence[Result], bool]:
        """The results, and whether the server said nothing at all."""
        letter = prepare(unit, recipients, takes_utf8="SMTPUTF8" in link.extensions)
        if letter.outgoing is None:
            return letter.results(()), False
        try:
            done = await link.transact(letter.outgoing)
        except BareLineEnd:
            text = "the message is binary, and the mailbox server takes text only"
            return [permanent("5.6.1", text)] * len(recipients), False
        if done.failure:
            _log.warning("%s: LMTP to %s: %s", unit.message_id, self._server, done.failure)
        return letter.results(judge(done)), done.is_unheard


def prepare(unit: Unit, recipients: Sequence[QueuedRecipient], *, takes_utf8: bool) -> Letter:
    """The transaction for these recipients, as far as the server can be told of them."""
    sent: list[Path] = []
    refused: list[Result | None] = []
    try:
        reverse_path = path_for(unit.envelope.reverse_path, takes_utf8=takes_utf8)
    except CannotBeSent as error:
        return Letter(None, [permanent("5.6.7", f"the sender's address {error}")] * len(recipients))
    for recipient in recipients:
        try:
            sent.append(path_for(recipient.target, takes_utf8=takes_utf8))
            refused.append(None)
        except CannotBeSent as error:
            refused.append(permanent("5.1.3", f"the address {error}"))
    if not sent:
        return Letter(None, refused)
    needs_utf8 = any(not (each.local + each.domain).isascii() for each in (reverse_path, *sent))
    parameters = MailParameters(
        size=unit.content.size,
        body=BodyType.EIGHT_BIT_MIME,
        smtputf8=needs_utf8 or unit.envelope.smtputf8,
    )
    forward_paths = tuple(OutgoingRecipient(path) for path in sent)
    return Letter(Outgoing(reverse_path, forward_paths, body_of(unit.content), parameters), refused)


def judge(done: Transacted) -> Sequence[Result]:
    """What the server's answers mean."""
    return [_judge_one(result, done.failure) for result in done.results]


def _judge_one(result: RecipientResult | None, failure: str) -> Result:
    if result is None:
        return temporary("4.4.2", f"the connection to the mailbox server failed: {failure}")
    reply = result.reply
    said = " ".join(word for word in (str(reply.code), reply.enhanced, reply.text) if word)
    if result.is_accepted:
        return Result(Outcome.DELIVERED, reply.enhanced or "2.0.0", said)
    if reply.code >= 500:
        return permanent(reply.enhanced or "5.0.0", said)
    return temporary(reply.enhanced or "4.0.0", said)
