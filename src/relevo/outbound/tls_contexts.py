"""TLS contexts for connections to other servers, and the sessions that can be resumed.

One object a worker; every context is made once. Sessions are kept by host and kind of check, and
bounded in number.
"""

from __future__ import annotations


class TlsContexts:
    """Contexts and sessions of one worker."""

    def __init__(self, ca_file: str = "") -> None:
        """`ca_file`: authorities that are trusted instead of the system's."""
        self._ca_file = ca_file
