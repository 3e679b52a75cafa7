"""The part of a DSN that people read: which address, what happened, what to do."""

from __future__ import annotations

import textwrap

from relevo.mail.dsn_facts import DsnAction, DsnFacts, DsnRecipient
from relevo.mail.trace import rfc5322_date

_WIDTH = 76
_DETAIL_WIDTH = 200  # characters: below 998 octets a line, whatever they are

_REFUSED_ADVICE = (
    "The message was refused for a reason of policy; the technical details below may say which. "
    "Sending it again unchanged will not help."
)
_ADVICE = {  # by the start of the enhanced status code; the first that fits
    "5.1.": "The address seems to be wrong: check it for typing errors and send the message again.",
    "5.2.2": "The mailbox is full: reach the recipient in another way, or try again later.",
    "5.2.3": "The message is too large for the recipient: send it again with less attached.",
    "5.3.4": "The message is too large for the recipient: send it again with less attached.",
    "5.4.7": "It was to be delivered within a time that is over. Send it again with more time.",
    "5.7.": _REFUSED_ADVICE,
}
_GENERAL_ADVICE = (
    "Check the address and send the message again. If the address is right, reach the recipient "
    "in another way."
)
_TIMED_OUT_ADVICE = (
    "The address may be right, but its mail server could not take the message in all this time. "
    "Try again later, or reach the recipient in another way."
)


def notification_text(facts: DsnFacts, *, attached: str) -> str:
    """The text, lines ended by LF; `attached` says what is attached, as a sentence."""
    groups = {
        action: [recipient for recipient in facts.recipients if recipient.action is action]
        for action in DsnAction
    }
    paragraphs = [_paragraph(f"This is the mail system of {facts.domain}.")]
    for action, recipients in groups.items():
        if recipients:
            paragraphs += _section(facts, action, recipients)
    paragraphs.append(
        _paragraph(
            f"For help, forward this report to postmaster@{facts.domain} or to the people who "
            f"look after your mail. {attached}"
        )
    )
    paragraphs.append("Technical details\n-----------------")
    paragraphs += [_details(facts, recipient) for recipient in facts.recipients]
    return "\n\n".join(paragraphs) + "\n"


def _section(facts: DsnFacts, action: DsnAction, recipients: list[DsnRecipient]) -> list[str]:
    """Paragraphs on the recipients that had the same fate."""
    message = f"Your message of {rfc5322_date(facts.arrival)}"
    match action:
        case DsnAction.FAILED:
            opening = f"{message} could not be delivered, and no more tries are made:"
            return [_paragraph(opening), *_failures(facts, recipients)]
        case DsnAction.DELAYED:
            opening = f"{message} has not yet been delivered to:"
            until = facts.will_retry_until
            limit = "" if until is None else f" until {rfc5322_date(until)}"
            closing = (
                f"The mail system keeps trying{limit}. You need not do anything now; you will be "
                "told if the message cannot be delivered."
            )
        case DsnAction.DELIVERED:
            opening = f"{message} was delivered to:"
            closing = "This report was asked for when the message was sent."
        case DsnAction.RELAYED:
            opening = f"{message} was handed on for:"
            closing = "The next mail server does not report deliveries: no more news will follow."
        case DsnAction.EXPANDED:
            opening = f"{message} was sent on to the members of:"
            closing = "No news of single members will follow."
    return [_paragraph(opening), _addresses(facts, recipients), _paragraph(closing)]


def _failures(facts: DsnFacts, recipients: list[DsnRecipient]) -> list[str]:
    """Addresses with what to do about them, those of one advice together."""
    by_advice: dict[str, list[DsnRecipient]] = {}
    for recipient in recipients:
        by_advice.setdefault(_advice(recipient), []).append(recipient)
    return [
        paragraph
        for advice, advised in by_advice.items()
        for paragraph in (_addresses(facts, advised), _paragraph(advice))
    ]


def _addresses(facts: DsnFacts, recipients: list[DsnRecipient]) -> str:
    shown = dict.fromkeys(facts.shown(recipient.original) for recipient in recipients)
    return "\n".join(f"  {address}" for address in shown)


def _advice(recipient: DsnRecipient) -> str:
    if recipient.is_timed_out:
        return _TIMED_OUT_ADVICE
    for prefix, advice in _ADVICE.items():
        if recipient.reported_status.startswith(prefix):
            return advice
    return _GENERAL_ADVICE


def _details(facts: DsnFacts, recipient: DsnRecipient) -> str:
    original, final = facts.shown(recipient.original), facts.shown(recipient.final)
    title = f"{original} (by way of {final})" if final and final != original else original
    if not final:
        title = f"{original} (a program of this mail system)"
    happened = "gave up after repeated tries" if recipient.is_timed_out else recipient.action.value
    source = f", says {recipient.remote_mta}" if recipient.remote_mta else ""
    lines = [title, f"  {happened}, status {recipient.reported_status}{source}"]
    for line in recipient.diagnostic_lines:
        lines += [f"    {piece}" for piece in textwrap.wrap(line, _DETAIL_WIDTH)]
    return "\n".join(lines)


def _paragraph(text: str) -> str:
    return textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
