"""The asyncio side of a server connection: TLS, deadlines, limits, and what a session is told."""

from relevo.reception.admission import Admission, ConnectionLimits, ConnectionTable, Gate
from relevo.reception.connection import SmtpConnection
from relevo.reception.services import Mode, Services

__all__ = [
    "Admission",
    "ConnectionLimits",
    "ConnectionTable",
    "Gate",
    "Mode",
    "Services",
    "SmtpConnection",
]
