"""The places in the life of a message where hooks are asked."""

from __future__ import annotations

from enum import Enum


class Stage(Enum):
    """In the order of a message's life. The values name the files in `hooks/`."""

    __hash__ = object.__hash__  # members are single objects; a tenth of what Enum's own costs

    CONNECT = "connect"
    EHLO = "ehlo"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    ALIAS_EXISTS = "alias-exists"
    ALIAS_RESOLVE = "alias-resolve"
    POST_DATA = "post-data"
    ROUTE = "route"
    BEFORE_ATTEMPT = "before-attempt"
    DELIVERED = "delivered"
    DEFERRED = "deferred"
    FAILED = "failed"
    DSN = "dsn"

    @property
    def has_files(self) -> bool:
        """Whether programs in `hooks/` are asked here (contract v1), not only declared ones."""
        return self in _WITH_FILES

    @property
    def meaning(self) -> str:
        """When hooks are asked, for the reference page."""
        return _MEANINGS[self]


_WITH_FILES = frozenset({Stage.ALIAS_EXISTS, Stage.ALIAS_RESOLVE, Stage.POST_DATA})

_MEANINGS = {
    Stage.CONNECT: (
        "A client has connected and is within the limits, before it is greeted (behind the "
        "handshake where TLS comes first), and again when XCLIENT names another client."
    ),
    Stage.EHLO: "At EHLO or HELO, before it is answered.",
    Stage.AUTH: "When name and password were found right, before the login counts.",
    Stage.MAIL: "At MAIL, when our own checks (SPF, security level, room) accept the sender.",
    Stage.RCPT: (
        "At RCPT, when our own checks accept the recipient. A recipient that they refuse is never "
        "shown, so no hook can open a relay."
    ),
    Stage.ALIAS_EXISTS: (
        "At RCPT, when neither the aliases files nor the users know the address: whether mail for "
        "it is taken. Asked with the address without suffix and drop characters."
    ),
    Stage.ALIAS_RESOLVE: (
        "When an address of ours is resolved: at RCPT where no file knows it and there is no "
        "`alias-exists`, and for every address when a message is taken. The answer is added to "
        "what the aliases file says."
    ),
    Stage.POST_DATA: (
        "Once a message, after the whole of it has arrived, its recipients were resolved and our "
        "trace fields stand on top of it, before it is queued and answered."
    ),
    Stage.ROUTE: (
        "Before each attempt of a unit (the recipients of a message that share a route): by which "
        "route this attempt goes."
    ),
    Stage.BEFORE_ATTEMPT: "Before each attempt, when its route is known: whether it is made.",
    Stage.DELIVERED: "After an attempt is committed, with the recipients that were delivered to.",
    Stage.DEFERRED: "After an attempt is committed, with the recipients that are tried again.",
    Stage.FAILED: "After an attempt is committed, with the recipients that were given up.",
    Stage.DSN: "When a delivery status notification was made, before it is queued.",
}
