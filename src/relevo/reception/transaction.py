"""The mail transaction of a session: envelope and message as far as they are known.

All policy state lives here and never in the connection, so that dropping the transaction resets
everything (RFC 5321 §4.1.1.5).
"""

from __future__ import annotations

from dataclasses import field, replace
from typing import TYPE_CHECKING

from relevo.value import dataclass

if TYPE_CHECKING:
    from relevo.directory import AliasHooks
    from relevo.journal import HookVerdict
    from relevo.mail import Address
    from relevo.mailauth import SpfResult
    from relevo.reception.arriving import ArrivingMessage
    from relevo.reception.authentication import Inspection
    from relevo.reception.findings import Findings
    from relevo.reception.quarantine import SetAside
    from relevo.smtp.events import MailParameters, RcptParameters


@dataclass(frozen=True, slots=True)
class AcceptedRecipient:
    """A forward-path answered 250, in stored form; `redirect`: what a hook wants instead of it."""

    address: Address
    parameters: RcptParameters
    redirect: tuple[Address, ...] = ()


@dataclass(slots=True)
class Transaction:
    """From MAIL to the answer behind the message."""

    reverse_path: Address
    parameters: MailParameters
    recipients: list[AcceptedRecipient] = field(default_factory=list)
    message: ArrivingMessage | None = None
    alias_hooks: AliasHooks | None = None  # remembers what they said in this transaction
    is_from_outside: bool = False  # of a client whose mail is judged: DMARC
    spf: SpfResult | None = None  # of MAIL FROM, of HELO for the null one; None: not asked
    helo_spf: SpfResult | None = None  # of HELO beside MAIL FROM
    inspection: Inspection | None = None  # of a large message's signatures, once its head is there
    findings: Findings | None = None  # what signatures are worth; None: not looked at
    signatures: bytes = b""  # ours: whole fields, to stand above what the client sent
    hook_tags: tuple[str, ...] = ()
    hook_fields: bytes = b""  # whole fields of hooks at mail and rcpt, to stand on top
    set_aside: SetAside | None = None  # it is to go into quarantine
    is_discarded: bool = False  # by a hook: it is accepted, and nothing comes of it
    hook_records: tuple[HookVerdict, ...] = ()  # of hooks that accepted what came so far

    def drop(self) -> None:
        """Free what the transaction holds."""
        if self.message is not None:
            self.message.drop()
            self.message = None

    @property
    def forward_paths(self) -> tuple[str, ...]:
        """The recipients in plain form, for events."""
        return tuple([recipient.address.plain for recipient in self.recipients])

    def records_of(self, message_id: str) -> tuple[HookVerdict, ...]:
        """What the hooks said before there was a message, as rows of its history."""
        return tuple(replace(record, message_id=message_id) for record in self.hook_records)
