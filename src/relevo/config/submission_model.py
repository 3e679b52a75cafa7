"""The part of the configuration tree that is about what our users may send."""

from __future__ import annotations

from dataclasses import dataclass

from relevo.config.key import key

SENDER_CHECKS = ("off", "warn", "enforce")


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """[submission]: who has logged in."""

    sender_check: str = key(
        "Users may send only as an address whose mail they get: their own, with or without a "
        "suffix, and aliases that lead to them; this holds for MAIL FROM and for the From field. "
        "`warn` only logs what `enforce` refuses.",
        "enforce",
        choices=SENDER_CHECKS,
    )
    allow_senders: tuple[str, ...] = key(
        "What users may send as besides, one user a text: `USER@DOMAIN: ADDRESS ADDRESS`. "
        "`@example.org` stands for all addresses of a domain, `*` for any.",
        (),
    )
    messages_per_hour: int = key(
        "Messages that a user may send within an hour, over all workers; more get 450. "
        "0: no limit.",
        0,
        least=0,
        most=1_000_000,
    )
    recipients_per_hour: int = key(
        "The same for recipients of these messages, as they stand in RCPT.",
        0,
        least=0,
        most=10_000_000,
    )
    hold_after: int = key(
        "When a user was refused so often within an hour for sending too much, what is accepted "
        "of that user is held in the queue until `relevo queue release`. 0: never.",
        0,
        least=0,
        most=1_000_000,
    )
