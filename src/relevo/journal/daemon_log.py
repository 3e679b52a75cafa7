"""Lines of the daemon log that other programs read.

chasquid's fail2ban filter looks for `SMTP.Conn <ADDR>:<port>: error: …`; a line made here matches
it, with the real source address, also behind a proxy.
"""

from __future__ import annotations

from relevo.journal.escape import escape


def session_error_line(client: str, verb: str, code: int, text: str) -> str:
    """A command that was answered 4xx or 5xx.

    `client` is ip:port or [ip]:port; `verb` a known verb or `unknown<"XXXXXX">`; `text` the reply
    behind its code, the enhanced status code first where there is one.
    """
    return f"SMTP.Conn {client}: error: {escape(verb)} failed: {code}  {escape(text)}"


def too_many_errors_line(client: str) -> str:
    """A session that was ended for its errors."""
    return f"SMTP.Conn {client}: error: too many errors, breaking connection"


def http_command_line(client: str) -> str:
    """A session that began as HTTP, the sign of a cross-protocol attack."""
    return f"SMTP.Conn {client}: error: http command, closing connection"
