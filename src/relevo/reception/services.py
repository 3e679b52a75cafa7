"""What a connection works with, handed to it by the worker.

One object a worker; a reload swaps `config`, `directory` and the rest in place, and a connection
reads them when it needs them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from relevo.authn import Authenticator
    from relevo.config import Config
    from relevo.directory import Directory
    from relevo.journal import Event
    from relevo.queue import MessageId, Store, Unit
    from relevo.reception.admission import Gate
    from relevo.smtp import SessionSettings


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


@dataclass(slots=True)
class Services:
    """Everything a connection reaches."""

    config: Config
    directory: Callable[[], Directory]
    store: Store
    authenticator: Authenticator
    tls_context: ssl.SSLContext | None
    gate: Gate
    record: Callable[[Event], None]  # mail log, and history for what has no message
    log: Callable[[Event], None]  # mail log only: the history commits with the message
    take: Callable[[tuple[Unit, ...]], None]  # freshly accepted units, leased to this worker
    new_id: Callable[[], MessageId]
    is_queue_full: Callable[[], bool]
    is_draining: bool = False
    settings: dict[tuple[Mode, bool, str], SessionSettings] = field(default_factory=dict)
