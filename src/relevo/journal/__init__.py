"""What happens to mail: the events, as values, and the mail log that renders and writes them.

Rooms above make events; the store keeps them as history, and `MailLog` writes them for operators.
"""

from relevo.journal.daemon_log import (
    http_command_line,
    session_error_line,
    too_many_errors_line,
)
from relevo.journal.events import (
    Accepted,
    Attempted,
    Authenticated,
    Done,
    DsnSent,
    Event,
    HookVerdict,
    Listening,
    OperatorAction,
    Outcome,
    Quarantined,
    Rejected,
    Released,
    Waiting,
)
from relevo.journal.maillog import plain_line
from relevo.journal.sink import MailLog, MailLogUnavailable

__all__ = [
    "Accepted",
    "Attempted",
    "Authenticated",
    "Done",
    "DsnSent",
    "Event",
    "HookVerdict",
    "Listening",
    "MailLog",
    "MailLogUnavailable",
    "OperatorAction",
    "Outcome",
    "Quarantined",
    "Rejected",
    "Released",
    "Waiting",
    "http_command_line",
    "plain_line",
    "session_error_line",
    "too_many_errors_line",
]
