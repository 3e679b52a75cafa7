"""Commands as a client writes them; the inverse of `commands` and `parameters`.

Nothing that is not a well-formed path or value is ever written: an address from a queue, an alias
or a hook could else carry a command of its own. Such a one is a ValueError.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from relevo.smtp import grammar

if TYPE_CHECKING:
    from relevo.smtp.client_events import Outgoing, OutgoingRecipient
    from relevo.smtp.events import Path

_TO_QUOTE: Final = re.compile(r'(["\\])')
_NOT_XCHAR: Final = re.compile(rb"[^!-*,-<>-~]")
_NOT_UTF8_XCHAR: Final = re.compile(r"[^!-*,-<>-\[\]-~]")


@lru_cache(maxsize=4096)  # each is checked when it is prepared and written when it is sent
def format_path(path: Path) -> str:
    """In brackets, the local part quoted where it must be; ValueError when it cannot be sent."""
    if path.is_null:
        return "<>"
    local = path.local
    if not grammar.DOT_STRING.fullmatch(local):
        local = '"' + _TO_QUOTE.sub(r"\\\1", local) + '"'
    text = f"<{local}@{path.domain}>" if path.domain else f"<{local}>"
    has_domain = not path.domain or grammar.is_domain(path.domain)
    if not has_domain or not grammar.BRACKETED.fullmatch(text):
        raise ValueError(f"not an address that can be sent: {path!r}")
    return text


def mail_command(outgoing: Outgoing, extensions: dict[str, str]) -> bytes:
    """MAIL with those parameters whose extension is offered."""
    parameters = outgoing.parameters
    words = [f"MAIL FROM:{format_path(outgoing.reverse_path)}"]
    if parameters.size is not None and "SIZE" in extensions:
        words.append(f"SIZE={parameters.size}")
    if parameters.body is not None and "8BITMIME" in extensions:
        words.append(f"BODY={parameters.body.value}")
    if parameters.smtputf8 and "SMTPUTF8" in extensions:
        words.append("SMTPUTF8")
    if parameters.requiretls and "REQUIRETLS" in extensions:
        words.append("REQUIRETLS")
    if parameters.auth is not None and "AUTH" in extensions:
        words.append(f"AUTH={encode_xtext(parameters.auth)}")
    if "DSN" in extensions:
        if parameters.ret is not None:
            words.append(f"RET={parameters.ret.value}")
        if parameters.envid is not None:
            words.append(f"ENVID={encode_xtext(parameters.envid)}")
    wishes = parameters.wishes
    if wishes.deliver_by is not None and "DELIVERBY" in extensions:
        words.append(f"BY={wishes.deliver_by}")
    if wishes.priority is not None and "MT-PRIORITY" in extensions:
        words.append(f"MT-PRIORITY={wishes.priority}")
    return _line(words)


def rcpt_command(recipient: OutgoingRecipient, extensions: dict[str, str]) -> bytes:
    """RCPT with those parameters whose extension is offered."""
    parameters = recipient.parameters
    words = [f"RCPT TO:{format_path(recipient.path)}"]
    if "DSN" in extensions:
        if parameters.notify:
            names = sorted(notify.value for notify in parameters.notify)
            words.append(f"NOTIFY={','.join(names)}")
        if parameters.orcpt is not None:
            kind, _, address = parameters.orcpt.partition(";")
            encode = encode_utf8_address if kind == "utf-8" else encode_xtext
            words.append(f"ORCPT={kind};{encode(address)}")
    return _line(words)


def encode_xtext(text: str) -> str:
    """Xtext of RFC 3461 §4."""
    return _NOT_XCHAR.sub(lambda match: b"+%02X" % match[0][0], text.encode()).decode()


def encode_utf8_address(text: str) -> str:
    """utf-8-addr-xtext of RFC 6533 §3, which every server takes."""
    return _NOT_UTF8_XCHAR.sub(lambda match: f"\\x{{{ord(match[0]):02X}}}", text)


def _line(words: list[str]) -> bytes:
    line = " ".join(words)
    if "\t" in line or grammar.CONTROL.search(line):
        raise ValueError(f"control character in a command: {line!r}")
    return line.encode() + b"\r\n"
