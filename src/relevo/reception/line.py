"""What the decisions of a session need of the connection they are about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from relevo.reception.conduct import Conduct
    from relevo.smtp import ServerSession


class Line(Protocol):
    """A client's connection, as `Dialogue` and `Login` see it."""

    session: ServerSession
    conduct: Conduct
    tls_version: str
    tls_cipher: str

    @property
    def client(self) -> str:
        """`ip:port`, for events."""

    @property
    def client_ip(self) -> str:
        """Of the client, whatever proxy it came by."""

    @property
    def named_ip(self) -> str:
        """The client's address, or "" where a proxy has named no client."""

    @property
    def channel_binding(self) -> bytes | None:
        """For SCRAM-…-PLUS."""

    def start(self, work: Coroutine[object, object, None]) -> None:
        """Run the one task that will answer the event, then go on with the session."""

    def hold_reading(self, until: Coroutine[object, object, None]) -> None:
        """Read nothing from the client until the coroutine is done."""
