"""INTERFACE SKETCH, to be implemented."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from relevo.smtp.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSettings:
    """What a listener offers. One value a listener and TLS server name, shared by its sessions."""

    hostname: str
    max_size: int  # octets on the wire; 0: no limit
    requires_auth: bool = False  # submission: MAIL needs AUTH first
    is_lmtp: bool = False
    offers_starttls: bool = False
    offers_chunking: bool = True
    offers_binarymime: bool = False
    offers_dsn: bool = True
    mechanisms: tuple[str, ...] = ()  # offered only on TLS
    max_recipients: int = 101
    max_errors: int = 3
    max_rejected_recipients: int = 100
    software: str = "relevo"


class Deadline(Enum):
    """Which timer runs (RFC 5321 §4.5.3.2); the shell owns the clock and the durations."""

    COMMAND = "command"  # waiting for a command or a continuation line
    DATA = "data"  # waiting for octets of a message
    ANSWER = "answer"  # waiting for our own side: no client deadline runs


class ServerSession:
    """One SMTP connection, server side, without I/O (RFC 5321, 2920, 3030, 3461, 4954)."""

    def __init__(self, settings: SessionSettings, *, is_tls: bool = False) -> None: ...

    # fed by the shell
    def greet(self) -> None: ...
    def receive(self, data: bytes) -> None: ...
    def receive_eof(self) -> None: ...
    def tls_started(self, settings: SessionSettings) -> None:
        """TLS is up: forget everything the client said in clear but the error count (RFC 3207 §4.2)."""

    # pulled by the shell
    def next_event(self) -> Event | None: ...
    def take_output(self) -> bytes: ...
    def deadline(self) -> Deadline: ...

    # answers to the event last returned
    def reply(self, code: int, enhanced: str, text: str) -> None: ...
    def proceed(self) -> None: ...
    def challenge(self, data: bytes) -> None: ...
    def reply_recipients(self, replies: list[tuple[int, str, str]]) -> None:
        """LMTP: one reply per accepted recipient after the message (RFC 2033 §4.2)."""
    def close(self, code: int, enhanced: str, text: str) -> None:
        """End the session at any moment with a last reply (421 on deadline or shutdown)."""

    # readable state
    is_closing: bool
    is_tls: bool
    is_authenticated: bool
    is_esmtp: bool
    hello_name: str
    buffered: int  # octets received and not yet consumed
