"""The addresses of a From field, for comparing them with who sends (RFC 5322 §3.6.2, §3.4).

Strict: a field that two readers may understand in two ways is unclear. So are groups, addresses
without a domain, and more than one field. Obsolete routes are not read.
"""

from __future__ import annotations

import re

from relevo.mail.address import Address, InvalidAddress, parse_address
from relevo.mail.header_block import field_values

_MOST = 16 * 1024  # octets of a From field that is read
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"|\\.|[(),<>:;"\\]|[^(),<>:;"\\]++', re.DOTALL)
# all of it quoted, or nothing that another reader may take for the end of an address
_LOCAL = re.compile(r'"(?:[^"\\]|\\.)*+"|[^"@\s\x00-\x1f\x7f]++')


class UnclearAuthors(ValueError):
    """The From field cannot be read in one way only; the text says why."""


def authors(head: bytes) -> tuple[Address, ...]:
    """Addresses of the From field, in their order; () without one. Raises UnclearAuthors."""
    values = field_values(head, "From")
    if not values:
        return ()
    if len(values) > 1:
        raise UnclearAuthors("there is more than one From field")
    if len(values[0]) > _MOST:
        raise UnclearAuthors("the From field is too long")
    try:
        text = values[0].decode()
    except UnicodeDecodeError as error:
        raise UnclearAuthors("the From field is not UTF-8") from error
    return tuple(map(_address, _mailboxes(text)))


def _mailboxes(text: str) -> list[str]:
    """The address of each mailbox of a list, as text."""
    found: list[str] = []
    bare, bracketed, is_inside = "", None, False
    for piece in [*_tokens(text), ","]:
        match piece:
            case "<" if bracketed is None and not is_inside:
                bracketed, is_inside = "", True
            case ">" if is_inside:
                is_inside = False
            case "," if not is_inside:
                if bracketed is not None or bare.strip():
                    found.append(bare if bracketed is None else bracketed)
                bare, bracketed = "", None
            case "<" | ">" | "," | ":" | ";":
                raise UnclearAuthors("the From field is not a list of addresses")
            case _ if is_inside:
                bracketed = f"{bracketed}{piece}"
            case _ if bracketed is not None and piece.strip():
                raise UnclearAuthors("the From field has text behind an address")
            case _:
                bare += piece
    if is_inside or not found:
        raise UnclearAuthors("the From field has no address")
    return found


def _tokens(text: str) -> list[str]:
    """Strings, special characters and what is between them; comments are blanks."""
    found: list[str] = []
    depth = 0
    for piece in _TOKEN.findall(text):
        if piece[0] in {'"', "\\"} and (depth or len(piece) == 1 or piece[0] == "\\"):
            raise UnclearAuthors("the From field has a quote in a comment or without its end")
        if piece == "(":
            depth += 1
        elif piece == ")":
            depth -= 1
        elif depth == 0:
            found.append(piece)
        if depth < 0:
            break
    if depth:
        raise UnclearAuthors("the From field has a bracket without its partner")
    return found


def _address(text: str) -> Address:
    try:
        address = parse_address(text.strip())
    except InvalidAddress as error:
        raise UnclearAuthors("the From field has what is no address") from error
    if not address.local or not address.domain or set(address.local) & set("\r\n"):
        raise UnclearAuthors("the From field has what is no address")
    if not _LOCAL.fullmatch(text.strip().rpartition("@")[0]):
        raise UnclearAuthors("the From field has what is no address")
    return address
