"""The SMTP protocol without I/O: grammar, framing, replies, the server and the client session.

Octets in, events out, answers in, octets out; sockets, clocks and policy belong to other rooms.
The events and the values parsed from commands are in `relevo.smtp.events`.
"""

from relevo.smtp.client import ClientSession
from relevo.smtp.client_events import ClientSettings, Outgoing, OutgoingRecipient
from relevo.smtp.replies import Reply, render
from relevo.smtp.server import Deadline, ServerSession
from relevo.smtp.settings import SessionSettings
from relevo.smtp.states import State, Verb

__all__ = [
    "ClientSession",
    "ClientSettings",
    "Deadline",
    "Outgoing",
    "OutgoingRecipient",
    "Reply",
    "ServerSession",
    "SessionSettings",
    "State",
    "Verb",
    "render",
]
