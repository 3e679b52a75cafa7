"""The author of a stranger's message: the one domain that its From field claims (RFC 9989 §4.2).

DMARC protects what the reader is shown, so it is worth nothing when the reader's program reads the
field in another way than we do. Whatever could be read in two ways has no author: several fields,
addresses of several domains, groups, routes, comments or blanks within an address, encoded words
where an address stands, controls. What is merely careless and common is taken when all readings
give the same domain: several addresses of one domain, a name that holds the address without
quotation marks, a name with a comma in it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise

from relevo.mail import InvalidAddress, domain_to_ascii, normalize_domain
from relevo.mail.header_block import field_values
from relevo.value import dataclass

MAX_VALUE = 4096  # octets of a From field that is read
_CACHED_VALUE = 256
MAX_NESTED = 5  # comments within comments

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_MISLEADING = re.compile(r"[<>@]")
_ENCODED_WORD = re.compile(r"=\?[^?\s]*\?[BbQq]\?")
# a field name that some programs take for From: with blanks, controls or such around it; to be
# searched in a head in lower case behind a line end
_NEARLY_FROM = re.compile(
    rb"\n(?:(?![ \t])[^\x21-\x7e\n]++from[^\x21-\x7e\n]*+"
    rb"|from[ \t]*+[^\x20-\x7e\t\n][^\x21-\x7e\n]*+):"
)
_TOKEN = re.compile(
    r'(?P<blank>[ \t]++)|(?P<quoted>"(?:[^"\\]|\\.)*+")|(?P<literal>\[[^\[\]\\]*+\])'
    r"|(?P<atom>[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]++)|(?P<special>[<>@,.])"
)


@dataclass(frozen=True, slots=True)
class Author:
    """The domain, lower case with A-labels; or the `problem`, printable ASCII.

    `is_missing`: there is no From field at all.
    """

    domain: str = ""
    problem: str = ""
    is_missing: bool = False


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int


class _Ambiguous(Exception):
    """Not one author; the text says why."""


def read_author(head: bytes) -> Author:
    """The author of a message by its head."""
    values = field_values(head, "From")
    if len(values) > 1:
        return Author(problem="there are several From fields")
    if _NEARLY_FROM.search(b"\n" + head.lower()):
        return Author(problem="a field is nearly called From")
    if not values:
        return Author(problem="there is no From field", is_missing=True)
    if len(values[0]) > MAX_VALUE:
        return Author(problem="the From field is too long")
    # long values are rare, and would make the cache's size that of their authors' choice
    return _read_cached(values[0]) if len(values[0]) <= _CACHED_VALUE else _read(values[0])


def _read(value: bytes) -> Author:
    try:
        return Author(_domain_of(value.decode("utf-8", "replace")))
    except _Ambiguous as error:
        return Author(problem=str(error))


_read_cached = lru_cache(maxsize=2048)(_read)


def _domain_of(text: str) -> str:
    """The domain of the value of a From field, unfolded. Raises _Ambiguous."""
    if _CONTROL.search(text):
        raise _Ambiguous("the From field has a control character")
    domains = {domain for part in _split(_tokens(text)) for domain in _claims(part)}
    if len(domains) > 1:
        raise _Ambiguous("the From field has addresses of several domains")
    if not domains:
        raise _Ambiguous("the From field has no address")
    return domains.pop()


def _tokens(text: str) -> list[_Token]:
    """Without blanks and comments; where they stood, the ends of neighbours do not meet."""
    tokens = []
    position = 0
    while position < len(text):
        if text[position] == "(":
            end = _comment_end(text, position)
            if _MISLEADING.search(text, position, end):
                raise _Ambiguous("the From field has a comment that looks like an address")
            position = end
            continue
        found = _TOKEN.match(text, position)
        if found is None:
            raise _Ambiguous(f"the From field has {_named(text[position])} out of place")
        if found.lastgroup != "blank":
            assert found.lastgroup is not None
            tokens.append(_Token(found.lastgroup, found[0], position, found.end()))
        position = found.end()
    return tokens


def _comment_end(text: str, position: int) -> int:
    depth = 0
    while position < len(text):
        character = text[position]
        if character == "\\":
            position += 1
        elif character == "(":
            depth += 1
            if depth > MAX_NESTED:
                break
        elif character == ")":
            depth -= 1
            if not depth:
                return position + 1
        position += 1
    raise _Ambiguous("the From field has a comment that does not end")


def _named(character: str) -> str:
    names = {":": "a group or a route", ";": "a group", '"': "an open quotation mark"}
    return names.get(character, f"'{character}'" if "!" <= character <= "~" else "a character")


def _split(tokens: list[_Token]) -> list[list[_Token]]:
    """At the commas that separate addresses."""
    parts: list[list[_Token]] = [[]]
    for token in tokens:
        if token.text == ",":
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _claims(part: list[_Token]) -> list[str]:
    """The domains of all that looks like an address in one entry of the list."""
    opening = [index for index, token in enumerate(part) if token.text == "<"]
    if opening:
        if len(opening) > 1 or part[-1].text != ">":
            raise _Ambiguous("the From field has an address within or before another text")
        start = opening[0]
        claims = [_address_domain(part[start + 1 : -1])]
        name = part[:start]
        return claims + (_claims(name) if _has_at(name) else [])
    if _has_at(part):
        return [_address_domain(part)]
    if any(token.kind == "literal" or token.text == ">" for token in part):
        raise _Ambiguous("the From field has a bracket out of place")
    # an entry without an address: the first half of a name with a comma, if anything
    if any(_hides_address(token.text) for token in part):
        raise _Ambiguous("the From field has an entry without an address")
    return []


def _has_at(part: list[_Token]) -> bool:
    return any(token.text == "@" for token in part)


def _hides_address(text: str) -> bool:
    return "@" in text or _ENCODED_WORD.search(text) is not None


def _address_domain(part: list[_Token]) -> str:
    """The domain of an address without brackets; all of it must be one piece."""
    for one, following in pairwise(part):
        if one.end != following.start:
            raise _Ambiguous("the From field has a blank or a comment within an address")
    ats = [index for index, token in enumerate(part) if token.text == "@"]
    if len(ats) != 1:
        raise _Ambiguous("the From field has no address in brackets, or one with several @")
    local, domain = part[: ats[0]], part[ats[0] + 1 :]
    _check_local(local)
    text = "".join(token.text for token in domain)
    if any(token.kind not in {"atom", "special"} for token in domain):
        raise _Ambiguous("the From field has an address without a domain name")
    return _plain_domain(text)


def _check_local(local: list[_Token]) -> None:
    text = "".join(token.text for token in local)
    if not local or _ENCODED_WORD.search(text) or "\ufffd" in text:
        raise _Ambiguous("the From field has a local part that cannot be read")
    if local[0].kind == "quoted":
        if len(local) > 1 or "@" in text or "<" in text:
            raise _Ambiguous("the From field has a quoted local part that looks like an address")
        return
    if not all(token.kind == "atom" or token.text == "." for token in local):
        raise _Ambiguous("the From field has a local part that cannot be read")


def _plain_domain(text: str) -> str:
    """A domain name in lower case with A-labels. Raises _Ambiguous."""
    try:
        return domain_to_ascii(normalize_domain(text))
    except InvalidAddress as error:
        raise _Ambiguous("the From field has an address without a domain name") from error
