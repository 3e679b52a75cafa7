"""What happens to mail: the events, as values, and the mail log that renders and writes them.

Rooms above make events; the store keeps them as history, and `MailLog` writes them for operators.
"""

from relevo.journal.daemon_log import (
    http_command_line,
    session_error_line,
    too_many_errors_line,
)
from relevo.journal.durations import go_duration
from relevo.journal.escape import escape
from relevo.journal.events import Event, Outcome
from relevo.journal.maillog import chasquid_line, json_line, plain_line
from relevo.journal.sink import MailLog, MailLogUnavailable

__all__ = [
    "Event",
    "MailLog",
    "MailLogUnavailable",
    "Outcome",
    "chasquid_line",
    "escape",
    "go_duration",
    "http_command_line",
    "json_line",
    "plain_line",
    "session_error_line",
    "too_many_errors_line",
]
