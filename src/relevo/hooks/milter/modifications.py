"""What a filter asks for at the end of the message, put together to changes of the contract."""

from __future__ import annotations

from relevo.hooks.contract.verdicts import Changes, InvalidVerdict, clean_text
from relevo.hooks.milter.header_edits import HeaderEdits
from relevo.hooks.milter.packets import Action, Reply, indexed, strings
from relevo.hooks.services.failures import ServiceFailed

MAX_RECIPIENTS = 1000

_ALLOWED_BY = {
    Reply.ADD_HEADER: Action.ADD_HEADERS | Action.CHANGE_HEADERS,
    Reply.INSERT_HEADER: Action.ADD_HEADERS | Action.CHANGE_HEADERS,
    Reply.CHANGE_HEADER: Action.CHANGE_HEADERS,
    Reply.CHANGE_FROM: Action.CHANGE_FROM,
    Reply.ADD_RECIPIENT: Action.ADD_RECIPIENTS,
    Reply.ADD_RECIPIENT_WITH: Action.ADD_RECIPIENTS_WITH,
    Reply.DELETE_RECIPIENT: Action.DELETE_RECIPIENTS,
    Reply.REPLACE_BODY: Action.CHANGE_BODY,
    Reply.QUARANTINE: Action.QUARANTINE,
}


class Modifications:
    """Those of one message."""

    def __init__(self, actions: Action, head: bytes, most: int, *, keeps_space: bool) -> None:
        self._actions = actions
        self._most = most
        self._head = head
        self._keeps_space = keeps_space
        self._edits: HeaderEdits | None = None
        self._added: list[str] = []
        self._removed: list[str] = []
        self._sender: str | None = None
        self._body: bytearray | None = None
        self._hold = ""

    def take(self, reply: Reply, data: bytes) -> bool:
        """Whether it was one. Raises ServiceFailed, InvalidVerdict."""
        allowed_by = _ALLOWED_BY.get(reply)
        if allowed_by is None:
            return False
        if not self._actions & allowed_by:
            raise ServiceFailed(f"it asks for {reply.name}, which it has not negotiated")
        match reply:
            case Reply.ADD_HEADER:
                name, value = strings(data, 2, 2)
                self._header().append(name, value)
            case Reply.INSERT_HEADER:
                index, rest = indexed(data)
                name, value = strings(rest, 2, 2)
                self._header().insert(index, name, value)
            case Reply.CHANGE_HEADER:
                index, rest = indexed(data)
                name, value = strings(rest, 2, 2)
                self._header().change(index, name, value)
            case Reply.CHANGE_FROM:
                self._sender = _address(strings(data, 1, 2)[0])
            case Reply.ADD_RECIPIENT | Reply.ADD_RECIPIENT_WITH:
                _append(self._added, strings(data, 1, 2)[0])
            case Reply.DELETE_RECIPIENT:
                _append(self._removed, strings(data, 1, 1)[0])
            case Reply.REPLACE_BODY:
                self._replace(data)
            case _:
                self._hold = clean_text(strings(data, 1, 1)[0].decode("utf-8", "replace"))
                self._hold = self._hold or "held by the filter"
        return True

    def changes(self) -> Changes:
        """All of them together."""
        return Changes(
            head=self._edits.result() if self._edits is not None else None,
            add_recipients=tuple(self._added),
            remove_recipients=tuple(self._removed),
            reverse_path=self._sender,
            body=None if self._body is None else _with_crlf(bytes(self._body)),
            hold=self._hold,
        )

    def _header(self) -> HeaderEdits:
        if self._edits is None:
            self._edits = HeaderEdits(self._head, keeps_space=self._keeps_space)
        return self._edits

    def _replace(self, data: bytes) -> None:
        if self._body is None:
            self._body = bytearray()
        self._body += data
        if len(self._body) > self._most:
            raise InvalidVerdict(f"it gives a body of more than {self._most} octets")


def _append(addresses: list[str], octets: bytes) -> None:
    if len(addresses) >= MAX_RECIPIENTS:
        raise InvalidVerdict(f"it changes more than {MAX_RECIPIENTS} recipients")
    addresses.append(_address(octets))


def _address(octets: bytes) -> str:
    try:
        text = octets.decode()
    except UnicodeDecodeError as error:
        raise InvalidVerdict("it gives an address that is not UTF-8") from error
    text = text.strip()
    if text.startswith("<") and text.endswith(">"):
        text = text[1:-1]
    if not text.isprintable():
        raise InvalidVerdict(f"address {text!r} has a control character")
    return text


def _with_crlf(octets: bytes) -> bytes:
    lines = octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n").removesuffix(b"\n")
    return lines.replace(b"\n", b"\r\n") + b"\r\n" if lines else b""
