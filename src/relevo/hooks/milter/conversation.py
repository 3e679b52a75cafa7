"""One message at a filter, without I/O: what is sent, and what the answers mean.

As everything is known when it begins, all up to the first piece of the body is sent at once, and
the answers are taken in order. A filter that decides early ends the conversation; then the
connection is not used again, since answers to what was sent already may follow.

A recipient that the filter refuses was accepted already, so its refusal is one of the message.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING

from relevo.hooks.contract.answers import refusal
from relevo.hooks.contract.stages import Stage
from relevo.hooks.contract.verdicts import Accept, Discard, InvalidVerdict, Refuse, Verdict
from relevo.hooks.milter.header_edits import split_head
from relevo.hooks.milter.modifications import Modifications
from relevo.hooks.milter.packets import BODY_PIECE, Command, Reply, Step, packet, strings
from relevo.hooks.services.failures import ServiceFailed

if TYPE_CHECKING:
    from relevo.hooks.milter.agreement import Agreement
    from relevo.hooks.milter.session import SessionTold

MAX_PROGRESS = 1_000
_REPLY = re.compile(r"([45][0-9]{2})(?:[ -]+([245]\.[0-9]{1,3}\.[0-9]{1,3}))?(?:[ -]+(.*))?")


class Conversation:
    """What to send, and `take` for each answer."""

    def __init__(
        self,
        told: SessionTold,
        agreement: Agreement,
        head: bytes,
        most: int,
        *,
        is_first: bool = True,
    ) -> None:
        """`head`: the message's fields, CRLF; `most`: octets of a body that the filter may give.

        `is_first`: the filter has not heard of the client yet.
        """
        self._is_first = is_first
        self._told = told
        self._agreement = agreement
        self._head = head
        self._awaited: deque[Command] = deque()
        self._keeps_space = agreement.has(Step.LEADING_SPACE)
        self._modifications = Modifications(
            agreement.actions, head, most, keeps_space=self._keeps_space
        )
        self._progress = 0
        self.wants_body = Command.BODY not in agreement.left_out
        self.is_complete = False  # the last answer came, and none is owed

    @property
    def awaits(self) -> bool:
        """Answers are to come before more is sent."""
        return bool(self._awaited)

    def opening(self) -> bytes:
        """All up to the end of the header."""
        sent = []
        for command, octets in self._told.until_data(is_first=self._is_first):
            sent.append(self._sent(command, octets))
        if Command.HEADER not in self._agreement.left_out:
            for name, octets in split_head(self._head):
                data = name + b"\0" + self._value(octets) + b"\0"
                sent.append(self._sent(Command.HEADER, packet(Command.HEADER, data)))
        end = self._told.command(Command.END_OF_HEADER)
        sent.append(self._sent(Command.END_OF_HEADER, end))
        return b"".join(sent)

    def body(self, piece: bytes) -> bytes:
        """A piece of it, with CRLF line ends."""
        assert len(piece) <= BODY_PIECE
        return self._sent(Command.BODY, packet(Command.BODY, piece))

    def end(self) -> bytes:
        """The end of the message, whose answer ends the conversation."""
        self._awaited.append(Command.END_OF_MESSAGE)
        return self._told.command(Command.END_OF_MESSAGE)

    def take(self, reply: Reply, data: bytes) -> Verdict | None:
        """An answer; the verdict once there is one. Raises ServiceFailed, InvalidVerdict."""
        if not self._awaited:
            raise ServiceFailed("it answers what nobody asked")
        asked = self._awaited[0]
        is_end = asked is Command.END_OF_MESSAGE
        if reply is Reply.PROGRESS:
            self._progress += 1
            if self._progress > MAX_PROGRESS:
                raise ServiceFailed("it only says that it goes on")
            return None
        if is_end and self._modifications.take(reply, data):
            return None
        self._awaited.popleft()
        match reply:
            case Reply.CONTINUE if not is_end:
                return None
            case Reply.SKIP if asked is Command.BODY:
                self.wants_body = False
                return None
            case Reply.CONTINUE | Reply.ACCEPT:
                self.is_complete = is_end
                return Accept(self._modifications.changes()) if is_end else Accept()
            case _:
                self.is_complete = is_end
                return final_verdict(reply, data)

    def _sent(self, command: Command, octets: bytes) -> bytes:
        if command in self._agreement.left_out:
            return b""
        if command not in self._agreement.silent:
            self._awaited.append(command)
        return octets

    def _value(self, octets: bytes) -> bytes:
        """What follows the colon, with LF between its lines."""
        value = octets.partition(b":")[2].removesuffix(b"\r\n").replace(b"\r\n", b"\n")
        if not self._keeps_space:
            value = value.removeprefix(b" ")
        return value.replace(b"\0", b"")


def final_verdict(reply: Reply, data: bytes) -> Verdict:
    """A verdict that is not accept. Raises ServiceFailed, InvalidVerdict."""
    match reply:
        case Reply.REJECT:
            return refusal(Stage.POST_DATA, is_permanent=True)
        case Reply.TEMPFAIL:
            return refusal(Stage.POST_DATA, is_permanent=False)
        case Reply.DISCARD:
            return Discard("the filter discards it")
        case Reply.REPLY_CODE:
            return _refused(strings(data, 1, 1)[0])
        case Reply.SHUTDOWN:
            return Refuse(421, "4.7.1", "Service not available, closing connection")
        case Reply.CONNECTION_FAIL:
            raise ServiceFailed("it says that its connection has failed")
        case _:
            raise ServiceFailed(f"it sent the reply {reply.name} where there can be none")


def _refused(text: bytes) -> Refuse:
    lines = text.decode("utf-8", "replace").replace("\r", "").split("\n")
    first = _REPLY.fullmatch(lines[0])
    if first is None:
        raise InvalidVerdict("it refuses with a reply that is none")
    words = [first[3] or ""]
    for line in lines[1:]:
        more = _REPLY.fullmatch(line)
        if line and (more is None or more[1] != first[1]):
            raise InvalidVerdict("it refuses with a reply that is none")
        words.append((more[3] if more else "") or "")
    code = int(first[1])
    usual = refusal(Stage.POST_DATA, is_permanent=code >= 500, text=" ".join(filter(None, words)))
    own = first[2] if first[2] and int(first[2][0]) == code // 100 else usual.enhanced
    return Refuse(code, own, usual.text)
