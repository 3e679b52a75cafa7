"""How header fields are read for hooks: as Python reads them, but never with an exception.

Python's reader of structured fields (RFC 5322, RFC 2045) raises for some of what a stranger may
send, and takes seconds for a very long field. A filter that fails on such a message would let it
pass, where its `on_error` is accept.
"""

from __future__ import annotations

import re
from email.policy import EmailPolicy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from email.message import EmailMessage

    _Policy = EmailPolicy[EmailMessage]  # generic for the type checker only
else:
    _Policy = EmailPolicy

MAX_VALUE = 16 * 1024
"""Of a longer field the first so many characters are read; time grows with their square."""

_SPECIAL = re.compile(r"[^\w@.,;=/+ -]")


class TolerantPolicy(_Policy):
    """A field that cannot be read is read without its special characters, or as empty."""

    def header_fetch_parse(self, name: str, value: Any) -> Any:
        """The value of a field, when somebody asks for it."""
        if hasattr(value, "name"):
            return super().header_fetch_parse(name, value)  # read already
        text = str(value)[:MAX_VALUE]
        for attempt in (text, _SPECIAL.sub(" ", text), ""):
            try:
                return super().header_fetch_parse(name, attempt)
            except Exception:  # noqa: BLE001, S112 - the reader raises anything: IndexError and more
                continue
        return ""


TOLERANT = TolerantPolicy()
