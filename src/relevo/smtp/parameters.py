"""Parameters of MAIL and RCPT (RFC 1870, 2852, 3030, 3461, 4865, 4954, 6152, 6531, 6710, 8689).

A parser returns the parsed parameters, or the reply that refuses them: 555 for a keyword that is
not known or not offered, 501 for a malformed value and for a keyword given twice.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from relevo.smtp import grammar
from relevo.smtp.events import (
    NO_MAIL_PARAMETERS,
    NO_RCPT_PARAMETERS,
    BodyType,
    MailParameters,
    Notify,
    RcptParameters,
    Ret,
)
from relevo.smtp.replies import Fixed
from relevo.smtp.wishes import KEYWORDS, NO_WISHES, parse_wishes

if TYPE_CHECKING:
    from relevo.smtp.settings import SessionSettings

MAX_ENVID: Final = 100  # characters of xtext (RFC 3461 §4.4)
MAX_ORCPT: Final = 500  # characters of the whole value (RFC 3461 §4.2)
_BLANKS: Final = re.compile(r"[ \t]+")
_DSN_OF_MAIL: Final = frozenset({"RET", "ENVID"})


def parse_mail_parameters(text: str, settings: SessionSettings) -> MailParameters | Fixed:
    """What stands behind the reverse-path."""
    if not text.strip(" \t"):
        return NO_MAIL_PARAMETERS
    words = _split(text)
    if isinstance(words, Fixed):
        return words
    size: int | None = None
    body: BodyType | None = None
    ret: Ret | None = None
    envid: str | None = None
    auth: str | None = None
    has_wishes = False
    for keyword, value in words.items():
        if keyword in _DSN_OF_MAIL and not settings.offers_dsn:
            return Fixed.PARAMETER_UNKNOWN
        match keyword:
            case "SIZE":
                size = int(value) if value and grammar.SIZE.fullmatch(value) else None
                well_formed = size is not None
            case "BODY":
                body = _body(value, settings)
                well_formed = body is not None
            case "SMTPUTF8":
                well_formed = value is None
            case "REQUIRETLS" if settings.offers_requiretls:
                well_formed = value is None
            case "RET":
                ret = {"FULL": Ret.FULL, "HDRS": Ret.HEADERS}.get((value or "").upper())
                well_formed = ret is not None
            case "ENVID":
                envid = grammar.xtext(value) if value and len(value) <= MAX_ENVID else None
                well_formed = envid is not None
            case "AUTH":
                auth = _auth(value)
                well_formed = auth is not None
            case wish if wish in KEYWORDS and settings.wishes is not None:
                has_wishes = well_formed = True
            case _:
                return Fixed.PARAMETER_UNKNOWN
        if not well_formed:
            return Fixed.PARAMETER_MALFORMED
    if size is not None and settings.max_size and size > settings.max_size:
        return Fixed.SIZE_TOO_LARGE
    wishes = NO_WISHES
    if has_wishes and settings.wishes is not None:
        found = parse_wishes(words, settings.wishes)
        if isinstance(found, Fixed):
            return found
        wishes = found
    return MailParameters(
        size=size,
        body=body,
        smtputf8="SMTPUTF8" in words,
        ret=ret,
        envid=envid,
        auth=auth,
        requiretls="REQUIRETLS" in words,
        wishes=wishes,
    )


def parse_rcpt_parameters(text: str, settings: SessionSettings) -> RcptParameters | Fixed:
    """What stands behind the forward-path."""
    if not text.strip(" \t"):
        return NO_RCPT_PARAMETERS
    words = _split(text)
    if isinstance(words, Fixed):
        return words
    notify: frozenset[Notify] = frozenset()
    orcpt: str | None = None
    for keyword, value in words.items():
        if keyword not in {"NOTIFY", "ORCPT"} or not settings.offers_dsn:
            return Fixed.PARAMETER_UNKNOWN
        if keyword == "NOTIFY":
            notify = _notify(value)
            well_formed = bool(notify)
        else:
            orcpt = _orcpt(value)
            well_formed = orcpt is not None
        if not well_formed:
            return Fixed.PARAMETER_MALFORMED
    return RcptParameters(notify=notify, orcpt=orcpt)


def _split(text: str) -> dict[str, str | None] | Fixed:
    words: dict[str, str | None] = {}
    for word in _BLANKS.split(text.strip(" \t")):
        match = grammar.PARAMETER.fullmatch(word)
        if not match:
            return Fixed.PARAMETER_MALFORMED
        keyword = match[1].upper()
        if keyword in words:
            return Fixed.PARAMETER_MALFORMED
        words[keyword] = match[2]
    return words


def _body(value: str | None, settings: SessionSettings) -> BodyType | None:
    match (value or "").upper():
        case "7BIT":
            return BodyType.SEVEN_BIT
        case "8BITMIME":
            return BodyType.EIGHT_BIT_MIME
        case "BINARYMIME" if settings.offers_chunking and settings.offers_binarymime:
            return BodyType.BINARY_MIME
        case _:
            return None


def _auth(value: str | None) -> str | None:
    """AUTH= of RFC 4954 §5: "<>" or a mailbox, as xtext."""
    decoded = grammar.xtext(value) if value else None
    if not decoded or decoded == "<>":
        return decoded or None
    path = grammar.mailbox(decoded)
    if path is None or not grammar.is_domain(path.domain):
        return None
    return decoded if len(decoded.encode()) <= grammar.MAX_ADDRESS_OCTETS else None


def _notify(value: str | None) -> frozenset[Notify]:
    """The keywords, or none when malformed; NEVER stands alone (RFC 3461 §4.1)."""
    names = (value or "").upper().split(",")
    if len(set(names)) != len(names) or not all(name in Notify.__members__ for name in names):
        return frozenset()
    if "NEVER" in names and len(names) > 1:
        return frozenset()
    return frozenset(Notify[name] for name in names)


def _orcpt(value: str | None) -> str | None:
    """`addr-type ";" xtext` decoded (RFC 3461 §4.2; RFC 6533 §3 for type utf-8)."""
    kind, semicolon, address = (value or "").partition(";")
    if len(value or "") > MAX_ORCPT or not semicolon or not grammar.DOT_STRING.fullmatch(kind):
        return None
    kind = kind.lower()
    decoded = grammar.utf8_address(address) if kind == "utf-8" else grammar.xtext(address)
    return f"{kind};{decoded}" if decoded else None
