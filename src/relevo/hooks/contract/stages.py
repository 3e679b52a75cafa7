"""The places in the life of a message where hooks are asked."""

from __future__ import annotations

from enum import Enum


class Stage(Enum):
    """In the order of a message's life. The values name the files in `hooks/`."""

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
    def is_run(self) -> bool:
        """Whether this release asks hooks here; the other names are reserved."""
        return self in _MEANINGS

    @property
    def meaning(self) -> str:
        """When hooks are asked, for the reference page; "" for a reserved name."""
        return _MEANINGS.get(self, "")


_MEANINGS = {
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
}
