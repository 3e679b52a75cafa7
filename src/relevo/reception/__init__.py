"""The asyncio side of a server connection: TLS, deadlines, limits, and what a session is told."""

from relevo.reception.admission import Admission, ConnectionLimits, ConnectionTable, Gate
from relevo.reception.authentication import MailChecks
from relevo.reception.conduct import Penalties
from relevo.reception.connection import SmtpConnection
from relevo.reception.penalty_table import PenaltyTable
from relevo.reception.services import Mode, Services

__all__ = [
    "Admission",
    "ConnectionLimits",
    "ConnectionTable",
    "Gate",
    "MailChecks",
    "Mode",
    "Penalties",
    "PenaltyTable",
    "Services",
    "SmtpConnection",
]
