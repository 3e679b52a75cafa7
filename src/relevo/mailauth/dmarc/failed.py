"""What a failure report tells of one message, and whether its author's domain wants one (RFC 9991).

Such reports show mail to people who may not be its recipients. So what is told is little: the
fields by which the owner of a domain finds the message among the own ones, nothing of recipients,
subject and body, and of the reverse-path the domain alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from relevo.mail.header_block import field_values
from relevo.mailauth.dkim import DkimResult
from relevo.mailauth.dmarc.judged import is_report
from relevo.mailauth.dmarc.record import Policy
from relevo.mailauth.dmarc.result import DmarcOutcome, DmarcResult
from relevo.mailauth.spf import SpfOutcome, SpfResult
from relevo.value import dataclass

MAX_FIELD = 2_000  # octets of a field that is shown; longer ones are left out
MAX_SHOWN = 10  # fields of one name
_SHOWN = ("From", "Sender", "Date", "Message-ID", "List-ID", "MIME-Version", "DKIM-Signature")
_REPORTS = (b"multipart/report", b"message/feedback-report")


@dataclass(frozen=True, slots=True)
class FailedMessage:
    """One message; texts are printable ASCII. `time` in seconds since the epoch."""

    author_domain: str
    policy_domain: str
    time: float
    source_ip: str
    sender_domain: str  # of the reverse-path
    handling: Policy
    has_aligned_spf: bool
    has_aligned_dkim: bool
    signatures: tuple[DkimResult, ...]
    spf: SpfResult | None
    results: str  # the value of Authentication-Results, on one line
    fields: bytes  # those of the head that are shown, CRLF behind each


def wants_report(
    result: DmarcResult, spf: SpfResult | None, dkim: Sequence[DkimResult], head: bytes
) -> bool:
    """Whether ruf= and fo= ask for a report on a message (RFC 9989 §4.7); about reports never."""
    record = result.record
    if record is None or not record.failures_to:
        return False
    if result.outcome not in {DmarcOutcome.PASS, DmarcOutcome.FAIL}:
        return False
    options = {option.strip().lower() for option in record.failure_options.split(":")}
    is_wanted = (
        ("0" in options and not result.is_pass)
        or ("1" in options and not (result.spf_domain and result.dkim_domains))
        or ("d" in options and any(not one.is_pass for one in dkim))
        or ("s" in options and spf is not None and spf.outcome is not SpfOutcome.PASS)
    )
    return is_wanted and not _is_about_reports(head)


def shown_fields(head: bytes) -> bytes:
    """What of a head may be shown; octets beyond ASCII become question marks."""
    lines = []
    for name in _SHOWN:
        for value in field_values(head, name)[:MAX_SHOWN]:
            if len(value) <= MAX_FIELD:
                text = value.decode("ascii", "replace").replace("\ufffd", "?")
                lines.append(f"{name}: {' '.join(text.split())}\r\n")
    return "".join(lines).encode("ascii", "replace")


def _is_about_reports(head: bytes) -> bool:
    lowered = head.lower()
    return is_report(head) or any(word in lowered for word in _REPORTS)
