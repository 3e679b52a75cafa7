"""Parsers of the commands: from what stands behind the verb to an event, or the refusing reply.

Nothing here knows the state of the session; the order of checks inside a command is chasquid's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relevo.smtp import grammar
from relevo.smtp.events import (
    NO_MAIL_PARAMETERS,
    NO_RCPT_PARAMETERS,
    Auth,
    Hello,
    Mail,
    Path,
    Rcpt,
)
from relevo.smtp.parameters import parse_mail_parameters, parse_rcpt_parameters
from relevo.smtp.replies import Fixed

if TYPE_CHECKING:
    import re

    from relevo.smtp.settings import SessionSettings


def parse_hello(verb: str, argument: bytes) -> Hello | Fixed:
    """HELO, EHLO, LHLO: the first word, as sent."""
    words = argument.split(None, 1)
    if not words:
        return Fixed.HELLO_WITHOUT_NAME
    try:
        name = words[0].decode()
    except UnicodeDecodeError:
        return Fixed.HELLO_MALFORMED
    if len(words[0]) > grammar.MAX_HELLO_OCTETS or grammar.CONTROL.search(name):
        return Fixed.HELLO_MALFORMED
    return Hello(verb, name)


def parse_mail(argument: bytes, settings: SessionSettings) -> Mail | Fixed:
    """MAIL, from its reverse-path on: `FROM:` was seen and something follows it."""
    plain = grammar.PLAIN_PATH.match(argument, 5)
    if plain and plain.end() == len(argument):
        return Mail(Path(plain[1].decode(), plain[2].decode()), NO_MAIL_PARAMETERS)
    split = _split_path(argument[5:])
    if split is None:
        return Fixed.SENDER_MALFORMED
    path_text, rest = split
    if path_text:
        path = grammar.mailbox(path_text)
        if path is None:
            return Fixed.SENDER_MALFORMED
        if len(path_text.encode()) > grammar.MAX_ADDRESS_OCTETS:
            return Fixed.SENDER_TOO_LONG
        if not grammar.is_domain(path.domain):
            return Fixed.SENDER_DOMAIN_MALFORMED
    else:
        path = Path("", "")
    parameters = parse_mail_parameters(rest, settings)
    return parameters if isinstance(parameters, Fixed) else Mail(path, parameters)


def parse_rcpt(argument: bytes, settings: SessionSettings) -> Rcpt | Fixed:
    """RCPT, from its forward-path on: `TO:` was seen and something follows it."""
    plain = grammar.PLAIN_PATH.match(argument, 3)
    if plain and plain.end() == len(argument):
        return Rcpt(Path(plain[1].decode(), plain[2].decode()), NO_RCPT_PARAMETERS)
    split = _split_path(argument[3:])
    if split is None:
        return Fixed.RECIPIENT_MALFORMED
    path_text, rest = split
    path = grammar.mailbox(path_text)
    if path is None:
        if path_text.lower() != "postmaster":  # RFC 5321 §4.5.1: in any letter case
            return Fixed.RECIPIENT_MALFORMED
        path = Path("postmaster", "")
    elif len(path_text.encode()) > grammar.MAX_ADDRESS_OCTETS:
        return Fixed.RECIPIENT_TOO_LONG
    elif not grammar.is_domain(path.domain):
        return Fixed.RECIPIENT_DOMAIN_MALFORMED
    parameters = parse_rcpt_parameters(rest, settings)
    return parameters if isinstance(parameters, Fixed) else Rcpt(path, parameters)


def parse_bdat(argument: bytes) -> tuple[int, bool] | None:
    """BDAT: size of the chunk and whether it is the last; None when malformed."""
    match = grammar.BDAT.fullmatch(argument)
    return (int(match[1]), match[2] is not None) if match else None


def parse_auth(argument: bytes, settings: SessionSettings) -> Auth | Fixed:
    """AUTH: mechanism and decoded initial response, `=` being the empty one (RFC 4954 §4)."""
    if not argument.strip():
        return Fixed.AUTH_MECHANISM_MISSING
    mechanism = argument.split(None, 1)[0].decode(errors="replace").upper()
    if mechanism not in settings.mechanisms:
        return Fixed.AUTH_MECHANISM_UNKNOWN
    match = grammar.AUTH.fullmatch(argument.strip())
    if match is None:
        return Fixed.AUTH_MALFORMED
    if match[2] is None:
        return Auth(mechanism, None)
    initial = b"" if match[2] == b"=" else grammar.base64(match[2])
    return Fixed.AUTH_MALFORMED if initial is None else Auth(mechanism, initial)


def _split_path(octets: bytes) -> tuple[str, str] | None:
    """The text in the brackets (or the bare word), and what follows it; None when malformed."""
    try:
        text = octets.decode().lstrip(" \t")
    except UnicodeDecodeError:
        return None
    pattern: re.Pattern[str] = grammar.BRACKETED if text.startswith("<") else grammar.BARE
    match = pattern.match(text)
    return (match[1], text[match.end() :]) if match else None
