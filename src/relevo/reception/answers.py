"""The replies that are decided above the protocol, in one table.

Texts never show configuration, paths or why a look-up failed; that goes to the log.
"""

from __future__ import annotations

from relevo.value import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """Reply code, enhanced status code ("" where none belongs) and text."""

    code: int
    enhanced: str
    text: str

    @property
    def is_positive(self) -> bool:
        return self.code < 400

    def with_detail(self, detail: str) -> Answer:
        """The same answer with `: detail` behind its text."""
        return Answer(self.code, self.enhanced, f"{self.text}: {detail}")


SENDER_OK = Answer(250, "2.1.0", "Sender OK")
RECIPIENT_OK = Answer(250, "2.1.5", "Recipient OK")
BAD_SENDER_DOMAIN = Answer(501, "5.1.8", "The sender's domain is not a valid domain name")
BAD_RECIPIENT_DOMAIN = Answer(501, "5.1.2", "The recipient's domain is not a valid domain name")
SENDER_TOO_LONG = Answer(501, "5.1.7", "The sender's address is longer than 256 octets")
RECIPIENT_TOO_LONG = Answer(501, "5.1.3", "The recipient's address is longer than 256 octets")
SPF_FAILED = Answer(550, "5.7.23", "SPF forbids your address to send mail of the sender's domain")
AUTHOR_UNCLEAR = Answer(550, "5.7.1", "The message does not say clearly who wrote it")
AUTHOR_UNKNOWN_NOW = Answer(
    451, "4.7.0", "The DMARC policy of the author's domain cannot be looked up now, try again later"
)
DMARC_FAILED = Answer(550, "5.7.1", "The author's domain does not stand behind the message (DMARC)")
LEVEL_TOO_LOW = Answer(
    550,
    "5.7.3",
    "Mail of the sender's domain came over TLS before: not in clear text, use STARTTLS",
)
SENDER_UNKNOWN_NOW = Answer(451, "4.3.0", "The sender cannot be checked now, try again later")
NO_SPACE = Answer(452, "4.3.1", "Not enough storage space, try again later")
STORE_SUSPENDED = Answer(421, "4.3.0", "Storage trouble, try again later")
RELAY_NOT_ALLOWED = Answer(
    503, "5.7.1", "Relaying is not allowed: log in first, or send to an address of ours"
)
RECIPIENT_INVALID = Answer(550, "5.1.3", "The recipient's address is not valid here")
RECIPIENT_UNKNOWN = Answer(550, "5.1.1", "No such recipient here")
RECIPIENT_UNKNOWN_NOW = Answer(451, "4.4.3", "The recipient cannot be checked now, try again later")
CANNOT_QUEUE = Answer(451, "4.3.0", "The message cannot be queued now")
QUEUE_FULL = Answer(451, "4.3.0", "The queue is full, try again later")
QUARANTINE_FULL = Answer(452, "4.3.1", "The quarantine is full, try again later")
TOO_MANY_EXPANDED = Answer(
    451, "4.5.3", "The recipients stand for too many addresses; send to fewer at once"
)
SIGNING_FAILED = Answer(451, "4.3.0", "The message cannot be signed now, try again later")
HEADER_TOO_LARGE = Answer(552, "5.3.4", "The header of the message is too large")
HEADER_BROKEN = Answer(554, "5.6.0", "The header of the message cannot be read")
LOOPS = Answer(554, "5.4.6", "The message has passed through too many servers: it loops")
LOGGED_IN = Answer(235, "2.7.0", "Logged in")
WRONG_CREDENTIALS = Answer(535, "5.7.8", "User name or password is not right")
LOGIN_MALFORMED = Answer(501, "5.5.2", "The AUTH response cannot be read")
MECHANISM_GONE = Answer(504, "5.5.4", "This way of logging in is not offered any more")
LOGIN_UNAVAILABLE = Answer(454, "4.7.0", "Logging in is not possible now, try again later")
GO_TLS = Answer(220, "2.0.0", "Ready to start TLS")
HELLO_OK = Answer(250, "", "")
SHUTTING_DOWN = Answer(421, "4.3.2", "The server is shutting down, try again later")
IDLE_TOO_LONG = Answer(421, "4.4.2", "Nothing was received for too long")
TOO_SLOW = Answer(421, "4.4.2", "The message arrives too slowly")
LIVED_TOO_LONG = Answer(421, "4.4.2", "The connection is open for too long, connect again")
TOO_MANY_CONNECTIONS = Answer(421, "4.7.0", "Try again later")
INTERNAL_ERROR = Answer(421, "4.3.0", "Something went wrong here, try again later")


def accepted(message_id: str) -> Answer:
    """The message is on stable storage."""
    return Answer(250, "2.0.0", f"Accepted as {message_id}")
