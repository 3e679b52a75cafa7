"""What a delivery status notification is made from: values, and how they are written in it.

Text in these values may come from other servers and commands: whatever is written into a DSN goes
through here, so that no value can end its line.

An address with a local part outside ASCII makes a DSN that needs SMTPUTF8, if the sender can take
such; else the address is written as a utf-8-addr-xtext (RFC 6533 §3).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum

from relevo.mail.address import InvalidDomain, domain_to_ascii

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_MAX_DIAGNOSTIC = 4000  # characters


class DsnAction(Enum):
    """What happened to a recipient (RFC 3464 §2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"


_GENERAL_STATUS = {
    DsnAction.FAILED: "5.0.0",
    DsnAction.DELAYED: "4.0.0",
    DsnAction.DELIVERED: "2.0.0",
    DsnAction.RELAYED: "2.0.0",
    DsnAction.EXPANDED: "2.0.0",
}
_TIMED_OUT_STATUS = "4.0.0"


@dataclass(frozen=True, slots=True)
class DsnRecipient:
    """One recipient of the report. Addresses are `Address` as text."""

    original: str  # the address the sender used
    final: str  # after aliases; "" for a command, which is never shown
    action: DsnAction
    status: str = ""  # enhanced status code; "": the general one of the action
    diagnostic: str = ""  # the last error, or what the next hop said; may have several lines
    # Whose words the diagnostic is: an SMTP reply, a command's (x-unix), or our own (x-relevo).
    diagnostic_type: str = "smtp"
    is_timed_out: bool = False  # failed because the message grew too old
    orcpt: str = ""  # ORCPT= of RCPT, decoded: "rfc822;address"
    remote_mta: str = ""  # the host that said it, if any

    @property
    def reported_status(self) -> str:
        """The enhanced status code of the report (RFC 3463); a timeout hides the last error's."""
        if self.is_timed_out:
            return _TIMED_OUT_STATUS
        if _ENHANCED.fullmatch(self.status):
            return self.status
        return _GENERAL_STATUS[self.action]

    @property
    def diagnostic_lines(self) -> list[str]:
        """The diagnostic without control characters, bounded; empty: there is none."""
        lines = self.diagnostic[:_MAX_DIAGNOSTIC].splitlines()
        return [line for line in map(one_line, lines) if line]


@dataclass(frozen=True, slots=True)
class DsnFacts:
    """All that a DSN says. Times are seconds since the epoch, UTC."""

    domain: str  # in whose name we write: postmaster-dsn@domain
    hostname: str  # the reporting MTA
    reverse_path: str  # whom to tell; never the null reverse-path
    recipients: tuple[DsnRecipient, ...]
    original: bytes  # the message, CRLF; what is behind MAX_ATTACHED octets may be missing
    arrival: float
    now: float
    token: str  # makes Message-ID and boundary unique; letters and digits
    envid: str = ""  # ENVID= of MAIL, decoded
    returns_headers_only: bool = False  # RET=HDRS
    will_retry_until: float | None = None  # for delayed recipients
    deliver_by: float | None = None  # until when the sender wanted it delivered (RFC 2852)
    takes_smtputf8: bool = True  # the sender can be sent what needs SMTPUTF8
    # Whether the DSN can only travel with SMTPUTF8: a local part is not ASCII (RFC 6533).
    needs_smtputf8: bool = field(init=False)

    def __post_init__(self) -> None:
        if not self.reverse_path or self.reverse_path == "<>":
            raise ValueError("a DSN is never sent to the null reverse-path (RFC 5321 §6.1)")
        if not self.recipients:
            raise ValueError("a DSN without recipients")
        addresses = [self.reverse_path]
        for recipient in self.recipients:
            addresses += (recipient.original, recipient.final, recipient.orcpt)
        is_ascii = all(address.rpartition("@")[0].isascii() for address in addresses)
        object.__setattr__(self, "needs_smtputf8", not is_ascii and self.takes_smtputf8)

    def shown(self, address: str) -> str:
        """An address as this DSN writes it: domains as A-labels unless it needs SMTPUTF8."""
        address = one_line(address)
        if address.isascii() or self.needs_smtputf8:
            return address
        local, at, domain = address.rpartition("@")
        return f"{utf8_xtext(local)}{at}{ascii_domain(domain)}"


def utf8_xtext(text: str) -> str:
    r"""What is ASCII as it stands, all else and backslashes as `\x{HEX}` (RFC 6533 §3)."""
    if text.isascii():
        return text
    return "".join(c if c.isascii() and c != "\\" else f"\\x{{{ord(c):02X}}}" for c in text)


def ascii_domain(domain: str) -> str:
    """A-labels; a domain that has none is shown without what is not ASCII."""
    try:
        return domain_to_ascii(domain)
    except InvalidDomain:
        return ascii_text(domain)


def one_line(text: str) -> str:
    """The text without line ends and other control characters."""
    return _CONTROLS.sub(" ", text).strip()


def ascii_text(text: str) -> str:
    """The text with `?` for what is not ASCII."""
    return text.encode("ascii", "replace").decode("ascii")
