"""Replies of the server: the table of fixed ones, and how any reply is put on the wire.

Every text that a session says on its own account stands in `Fixed`; texts that need a look-up
(unknown user, refused relay) belong to the rooms above. Promises of `render`, whatever the text:
no line is longer than 512 octets (RFC 5321 §4.5.3.1.5), no control character but the final CRLF,
at most `MAX_LINES` lines, and always valid UTF-8. Enhanced codes are those of RFC 3463.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from typing import Final

from relevo.value import dataclass

MAX_LINE_OCTETS: Final = 512  # CRLF included
MAX_LINES: Final = 40

# C0, DEL, C1; the separators that some readers take for a line end; lone surrogates.
_UNSAFE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_LINE_END: Final = re.compile(r"\r\n|\n")


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply. `enhanced` "" where RFC 2034 §4 forbids a code (greeting, HELO, EHLO)."""

    code: int
    enhanced: str
    text: str


class Fixed(Enum):
    """What the session answers by itself."""

    # commands and their order
    COMMAND_UNKNOWN = Reply(500, "5.5.1", "Command unknown")
    COMMAND_TOO_LONG = Reply(500, "5.5.6", "Command line too long")
    COMMAND_LINE_END = Reply(
        500, "5.5.2", "Bare CR or LF in a command line; end each line with CRLF"
    )
    COMMAND_NOT_OFFERED = Reply(502, "5.5.1", "Command not offered here")
    HTTP_REFUSED = Reply(502, "5.7.0", "This is not an HTTP server")
    VRFY_REFUSED = Reply(502, "5.5.1", "Addresses are not verified; send the message")
    EXPN_REFUSED = Reply(502, "5.5.1", "Lists are not expanded")
    HELLO_NEEDED = Reply(503, "5.5.1", "Send EHLO or HELO first")
    LHLO_NEEDED = Reply(503, "5.5.1", "Send LHLO first")
    MAIL_NEEDED = Reply(503, "5.5.1", "Send MAIL first")
    RCPT_NEEDED = Reply(503, "5.5.1", "Send RCPT first; no recipient was accepted")
    BDAT_RUNNING = Reply(503, "5.5.1", "Not between the chunks of a message; send BDAT or RSET")
    DATA_AFTER_BINARYMIME = Reply(503, "5.5.1", "A BINARYMIME message needs BDAT")
    TOO_MANY_ERRORS = Reply(421, "4.7.0", "Too many errors, closing the connection")
    TOO_MANY_REJECTED = Reply(421, "4.7.0", "Too many refused recipients, closing the connection")
    TOO_MANY_COMMANDS = Reply(421, "4.7.0", "Too many commands without a message, closing")
    # HELO, EHLO, LHLO
    HELLO_WITHOUT_NAME = Reply(501, "", "Give the name of your host after the command")
    HELLO_MALFORMED = Reply(501, "", "Malformed host name")
    # MAIL
    MAIL_NOT_FROM = Reply(500, "5.5.2", "Write MAIL FROM:<address>")
    MAIL_EMPTY = Reply(500, "5.5.4", "MAIL FROM: needs an address or <>")
    MAIL_NEEDS_AUTH = Reply(550, "5.7.9", "Authenticate before sending mail on this port")
    SENDER_MALFORMED = Reply(501, "5.1.7", "Malformed sender address")
    SENDER_TOO_LONG = Reply(501, "5.1.7", "Sender address too long")
    SENDER_DOMAIN_MALFORMED = Reply(501, "5.1.8", "Malformed domain in the sender address")
    SIZE_TOO_LARGE = Reply(552, "5.3.4", "Declared message size is over the limit")
    # RCPT
    RCPT_NOT_TO = Reply(500, "5.5.2", "Write RCPT TO:<address>")
    RCPT_EMPTY = Reply(500, "5.5.4", "RCPT TO: needs an address")
    RECIPIENT_MALFORMED = Reply(501, "5.1.3", "Malformed recipient address")
    RECIPIENT_TOO_LONG = Reply(501, "5.1.3", "Recipient address too long")
    RECIPIENT_DOMAIN_MALFORMED = Reply(501, "5.1.2", "Malformed domain in the recipient address")
    TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", "Too many recipients; send the rest separately")
    # parameters of MAIL and RCPT
    PARAMETER_UNKNOWN = Reply(555, "5.5.4", "Parameter not known or not offered")
    PARAMETER_MALFORMED = Reply(501, "5.5.4", "Malformed or repeated parameter")
    DELIVER_BY_TOO_SHORT = Reply(553, "5.4.7", "Less time to deliver than this server needs")
    DELIVER_BY_BEFORE_RELEASE = Reply(501, "5.5.4", "BY= ends before the message is released")
    RELEASE_TOO_FAR = Reply(501, "5.5.4", "Later than FUTURERELEASE of EHLO allows")
    RELEASE_IN_THE_PAST = Reply(501, "5.5.4", "HOLDUNTIL= lies in the past")
    # DATA, BDAT
    DATA_GO = Reply(354, "", "Send the message, end it with <CRLF>.<CRLF>")
    CHUNK_TAKEN = Reply(250, "2.0.0", "Chunk received")
    CHUNK_MALFORMED = Reply(501, "5.5.4", "Write BDAT size [LAST]; closing the connection")
    TOO_MANY_CHUNKS = Reply(421, "4.7.0", "Too many small chunks, closing the connection")
    BODY_LINE_END = Reply(521, "5.5.2", "Bare CR or LF in the message; end each line with CRLF")
    MESSAGE_TOO_LARGE = Reply(552, "5.3.4", "Message is over the size limit")
    # AUTH, STARTTLS
    AUTH_NEEDS_TLS = Reply(503, "5.7.10", "Start TLS before authenticating")
    AUTH_DONE = Reply(503, "5.5.1", "Already authenticated")
    AUTH_IN_TRANSACTION = Reply(503, "5.5.1", "Authenticate before MAIL")
    AUTH_MECHANISM_MISSING = Reply(501, "5.5.4", "AUTH needs a mechanism")
    AUTH_MECHANISM_UNKNOWN = Reply(504, "5.5.4", "Authentication mechanism not offered")
    AUTH_MALFORMED = Reply(501, "5.5.2", "Authentication response is not valid base64")
    AUTH_CANCELLED = Reply(501, "5.7.0", "Authentication cancelled")
    TLS_WITH_PARAMETERS = Reply(501, "5.5.4", "STARTTLS takes no parameters")
    TLS_RUNNING = Reply(503, "5.5.1", "TLS is already running")
    TLS_NOT_OFFERED = Reply(502, "5.5.1", "TLS is not offered here")
    # XCLIENT
    XCLIENT_IN_TRANSACTION = Reply(503, "5.5.1", "XCLIENT only outside a transaction")
    XCLIENT_AFTER_AUTH = Reply(503, "5.5.1", "XCLIENT only before AUTH")
    XCLIENT_MALFORMED = Reply(501, "5.5.4", "Malformed, repeated or unknown XCLIENT attribute")
    XCLIENT_ADDRESS_MALFORMED = Reply(501, "5.5.4", "ADDR= needs an IPv4 address, or IPV6:address")
    # the rest
    RESET_DONE = Reply(250, "2.0.0", "Transaction dropped")
    NOOP_DONE = Reply(250, "2.0.0", "Nothing done")
    HELP = Reply(214, "2.0.0", "The commands are those of RFC 5321 and of the EHLO extensions")
    GOODBYE = Reply(221, "2.0.0", "Closing the connection")


@lru_cache(maxsize=64)  # nearly all replies of a server are the same few
def render(code: int, enhanced: str, text: str) -> bytes:
    """One reply as octets; a LF in `text` makes it a multi-line reply.

    Lines too long for the wire are cut at a character, lines without content are dropped.
    """
    head = f"{enhanced} " if enhanced else ""
    if text.isascii() and text.isprintable() and len(text) < 400:
        return f"{code} {head}{text}\r\n".encode()  # nearly all: nothing to clean or cut
    lines = [_UNSAFE.sub("", line.replace("\t", " ")).strip() for line in _LINE_END.split(text)]
    return render_lines(code, [head + line for line in lines if line][:MAX_LINES] or [head])


def render_lines(code: int, lines: list[str]) -> bytes:
    """Clean, non-empty list of lines as one multi-line reply without enhanced codes."""
    last = len(lines) - 1
    return b"".join(
        _wire_line(f"{code}{' ' if number == last else '-'}{line}")
        for number, line in enumerate(lines)
    )


def clean(text: str) -> str:
    """`text` on one line, without control characters."""
    return _UNSAFE.sub("", _LINE_END.sub(" ", text))


def _wire_line(line: str) -> bytes:
    octets = line.encode()
    if len(octets) > MAX_LINE_OCTETS - 2:
        octets = octets[: MAX_LINE_OCTETS - 2].decode(errors="ignore").encode()
    return octets + b"\r\n"
