"""What a connection works with, handed to it by the worker.

One object a worker; a reload swaps `config`, `directory` and the rest in place, and a connection
reads them when it needs them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from relevo.delivery import RouteTable
from relevo.delivery.forwarding import NO_FORWARDING, Forwarding
from relevo.reception.conduct import Penalties
from relevo.reception.handshakes import HandshakeTurns
from relevo.reception.relay_domains import RelayDomains
from relevo.reception.wishes import wish_offers
from relevo.smtp import SessionSettings
from relevo.smtp.settings import ignore

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

    from relevo.authn import Authenticator
    from relevo.config import Config
    from relevo.directory import Directory
    from relevo.dns import DnsLookups
    from relevo.hooks.post_data import PostDataHooks
    from relevo.hooks.stages import StageHooks
    from relevo.journal import Event
    from relevo.queue import SqliteStore
    from relevo.queue.store import MessageId, Place, Unit
    from relevo.reception.admission import Gate
    from relevo.reception.authentication import MailChecks
    from relevo.reception.submission_policy import SubmissionPolicy

_MOST_SETTINGS = 256


class Mode(Enum):
    """What a listener is for; the values stand in Received and in logs."""

    SMTP = "SMTP"
    SUBMISSION = "submission"
    SUBMISSION_TLS = "submission+TLS"

    @property
    def requires_auth(self) -> bool:
        return self is not Mode.SMTP

    @property
    def is_tls_from_start(self) -> bool:
        return self is Mode.SUBMISSION_TLS


def count_nothing(_family: str, _label: str) -> None:
    """Where nobody looks at counters."""


@dataclass(slots=True)
class Services:
    """Everything a connection reaches."""

    config: Config
    directory: Callable[[], Directory]
    store: SqliteStore
    authenticator: Authenticator
    tls_context: ssl.SSLContext | None
    gate: Gate
    record: Callable[[Event], None]  # mail log, and history for what has no message
    log: Callable[[Event], None]  # mail log only: the history commits with the message
    # freshly accepted units, leased to this worker, and the routes of those that wait
    take: Callable[[tuple[Unit, ...], Sequence[str]], None]
    place: Place  # which routes `take` wants units of now; others wait in the store
    new_id: Callable[[], MessageId]
    is_queue_full: Callable[[], bool]
    post_data: PostDataHooks
    resolver: DnsLookups
    mail_checks: MailChecks
    routes: RouteTable = field(default_factory=RouteTable)
    forwarding: Forwarding = NO_FORWARDING
    relay_domains: RelayDomains = field(default_factory=RelayDomains)
    penalties: Penalties = field(default_factory=Penalties)  # this one exempts everybody
    submission: SubmissionPolicy | None = None  # None: users send what they like
    stage_hooks: StageHooks | None = None  # None: none is declared for connect to rcpt
    handshakes: HandshakeTurns = field(default_factory=HandshakeTurns)
    count: Callable[[str, str], None] = count_nothing  # a family of counters, and a label of it
    count_command: Callable[[bytes], None] = ignore
    count_reply: Callable[[int], None] = ignore
    is_draining: bool = False
    _settings: dict[tuple[Mode, str, bool, bool], SessionSettings] = field(default_factory=dict)

    def session_settings(
        self,
        mode: Mode,
        server_name: str = "",
        *,
        has_channel_binding: bool = False,
        offers_xclient: bool = False,
    ) -> SessionSettings:
        """What a listener offers to a client that asked for `server_name` by SNI ("": none)."""
        key = (mode, server_name, has_channel_binding, offers_xclient)
        found = self._settings.get(key)
        if found is None:
            if len(self._settings) >= _MOST_SETTINGS:  # below a wildcard clients invent names
                self._settings.clear()
            found = self._settings[key] = self._make_settings(*key)
        return found

    def _make_settings(
        self, mode: Mode, server_name: str, has_channel_binding: bool, offers_xclient: bool
    ) -> SessionSettings:
        config = self.config
        return SessionSettings(
            hostname=server_name or config.hostname,
            max_size=config.smtp.max_message_size,
            requires_auth=mode.requires_auth,
            offers_starttls=self.tls_context is not None,
            offers_chunking=config.smtp.chunking,
            offers_binarymime=config.smtp.binarymime,
            offers_dsn=config.smtp.dsn,
            offers_requiretls=config.smtp.requiretls,
            offers_xclient=offers_xclient,
            wishes=wish_offers(config.smtp),
            mechanisms=self.authenticator.mechanisms(has_channel_binding=has_channel_binding),
            max_recipients=config.limits.recipients,
            max_errors=config.limits.errors,
            max_rejected_recipients=config.limits.rejected_recipients,
            count_command=self.count_command,
            count_reply=self.count_reply,
        )

    def forget_settings(self) -> None:
        """After a reload: new connections see the new configuration."""
        self._settings.clear()
