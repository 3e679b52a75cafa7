"""When a connection has taken too long (RFC 5321 §4.5.3.2): clocks of one connection, no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relevo.reception import answers
from relevo.smtp import Deadline

if TYPE_CHECKING:
    from relevo.config.reception_model import Limits
    from relevo.reception.answers import Answer
    from relevo.smtp import ServerSession

_RATE_WINDOW = 300.0  # seconds over which [limits] data_min_rate is measured


class Clocks:
    """Times of the event loop's clock, in seconds, at which something happened last."""

    __slots__ = ("_octets", "_window_start", "answered", "connected", "read")

    def __init__(self, now: float) -> None:
        self.connected = now  # or the TLS handshake began
        self.answered = now
        self.read = now
        self._window_start = now
        self._octets = 0

    def on_read(self, now: float, octets: int) -> None:
        """The client sent something."""
        self.read = now
        self._octets += octets

    def has_no_handshake(self, now: float, limits: Limits) -> bool:
        """TLS, or the header of a proxy, is overdue."""
        return now - self.connected > limits.handshake_timeout.total_seconds()

    def last_word(
        self, session: ServerSession, limits: Limits, now: float, *, is_busy: bool
    ) -> Answer | None:
        """What a client hears whose time is over; None: it is not. `is_busy`: be less patient."""
        match session.deadline():
            case Deadline.COMMAND:
                patience = limits.command_timeout
                if is_busy:
                    patience = min(patience, limits.busy_command_timeout)
                if now - self.answered > patience.total_seconds():
                    return answers.IDLE_TOO_LONG
                return answers.LIVED_TOO_LONG if self._is_too_old(now, limits) else None
            case Deadline.DATA:
                return self._word_on_data(session, limits, now)
            case Deadline.ANSWER:
                return None  # our own side has deadlines of its own

    def _word_on_data(self, session: ServerSession, limits: Limits, now: float) -> Answer | None:
        if now - self.read > limits.data_timeout.total_seconds():
            return answers.IDLE_TOO_LONG
        if session.is_dropping and self._is_too_old(now, limits):
            return answers.LIVED_TOO_LONG  # what is refused already may not go on for ever
        if now - self._window_start > _RATE_WINDOW:
            is_slow = self._octets < limits.data_min_rate * _RATE_WINDOW
            if is_slow and self._window_start > self.answered:
                return answers.TOO_SLOW
            self._window_start = now
            self._octets = 0
        return None

    def _is_too_old(self, now: float, limits: Limits) -> bool:
        return now - self.connected > limits.connection_lifetime.total_seconds()
