"""The command line of sendmail, as programs use it.

Options may stand together with their value (`-fada@example.org`) or before it; the first word that
is no option begins the recipients. What has no meaning here is taken and ignored, as long as
ignoring it loses no mail.
"""

from __future__ import annotations

import getopt
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relevo.mail import InvalidAddress, parse_address

if TYPE_CHECKING:
    from collections.abc import Sequence

_LETTERS = "A:B:C:D:F:L:N:O:R:V:X:b:d:e:f:h:imno:p:r:tvUG"
_RETURNS = frozenset({"FULL", "HDRS"})
_NOTIFY = frozenset({"NEVER", "SUCCESS", "FAILURE", "DELAY"})
# xtext (RFC 3461 §4)
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2}){1,100}")
_BODIES = {"7BIT": "7BIT", "8BITMIME": "8BITMIME"}


class WrongUsage(ValueError):
    """Options that cannot be followed; the text says which."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a command line asks for."""

    recipients: tuple[str, ...] = ()  # as written
    sender: str | None = None  # as written; "" and "<>": the null reverse-path; None: not given
    full_name: str = ""
    reads_recipients: bool = False  # -t: from the header too
    ignores_dots: bool = False  # -i: a line with a dot alone does not end the message
    body: str = ""
    notify: tuple[str, ...] = ()
    ret: str = ""
    envid: str = ""
    does_nothing: bool = False  # -bi, -q: what other servers need, and this one does not
    lists_queue: bool = False  # -bp


def parse(arguments: Sequence[str]) -> Options:
    """Raises WrongUsage."""
    if any(argument.startswith("-q") for argument in _options_of(arguments)):
        return Options(does_nothing=True)
    try:
        given, words = getopt.getopt(list(arguments), _LETTERS)
    except getopt.GetoptError as error:
        raise WrongUsage(str(error)) from error
    values = dict(given)
    mode = values.get("-b", "m")
    if mode not in {"m", "i", "p"}:
        raise WrongUsage(f"-b{mode} is not offered; -bm, -bi and -bp are")
    sender = values.get("-f", values.get("-r"))
    ret = values.get("-R", "").upper()
    if ret and ret not in _RETURNS:
        raise WrongUsage(f"-R {ret}: full or hdrs")
    body = values.get("-B", "").upper()
    if body and body not in _BODIES:
        raise WrongUsage(f"-B {body}: 7BIT or 8BITMIME")
    envid = values.get("-V", "")
    if envid and not _XTEXT.fullmatch(envid):
        raise WrongUsage("-V: not an envelope identifier of up to 100 characters (RFC 3461 §4.4)")
    return Options(
        recipients=_recipients(words),
        sender=None if sender is None else _sender(sender),
        full_name=values.get("-F", ""),
        reads_recipients="-t" in values or ("-o", "t") in given,
        ignores_dots="-i" in values or ("-o", "i") in given,
        body=_BODIES.get(body, ""),
        notify=_notify(values.get("-N", "")),
        ret=ret,
        envid=envid,
        does_nothing=mode == "i",
        lists_queue=mode == "p",
    )


def _options_of(arguments: Sequence[str]) -> Sequence[str]:
    """What stands before `--`."""
    words = list(arguments)
    return words[: words.index("--")] if "--" in words else words


def _recipients(words: Sequence[str]) -> tuple[str, ...]:
    """Each may be several with commas between them."""
    return tuple(
        address.strip() for word in words for address in word.split(",") if address.strip()
    )


def _sender(text: str) -> str:
    text = text.strip().removeprefix("<").removesuffix(">")
    if not text:
        return ""
    if not text.isprintable():
        raise WrongUsage("-f: there is a control character in the address")
    try:
        parse_address(text)
    except InvalidAddress as error:
        raise WrongUsage(f"-f: {error}") from error
    return text


def _notify(text: str) -> tuple[str, ...]:
    words = tuple(word.strip().upper() for word in text.split(",") if word.strip())
    if not set(words) <= _NOTIFY or ("NEVER" in words and len(words) > 1):
        raise WrongUsage(f"-N {text}: never, or success, failure and delay with commas")
    return words
