"""AUTH of one session: drives a SASL exchange and answers its steps (RFC 4954)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from relevo.authn import Challenge, LoggedIn, Malformed, Unavailable, WrongCredentials
from relevo.journal import Authenticated
from relevo.reception import answers

if TYPE_CHECKING:
    from relevo.authn import Exchange
    from relevo.reception.line import Line
    from relevo.reception.services import Services
    from relevo.smtp import events


class Login:
    """Who the client is, once it has said so."""

    def __init__(self, line: Line, services: Services) -> None:
        self._line = line
        self._services = services
        self._exchange: Exchange | None = None
        self.identity = ""  # user@domain, normalized; "" until a login succeeded

    def on_auth(self, event: events.Auth) -> None:
        """AUTH: begin an exchange."""
        self._exchange = self._services.authenticator.start(
            event.mechanism, self._line.channel_binding
        )
        self._line.start(self._step(event.initial))

    def on_response(self, event: events.AuthResponse) -> None:
        """The answer to our last challenge."""
        self._line.start(self._step(event.data))

    async def _step(self, data: bytes | None) -> None:
        assert self._exchange is not None
        step = await self._exchange.step(data)
        session = self._line.session
        match step:
            case Challenge(data=challenge):
                session.challenge(challenge)
                return
            case LoggedIn(identity=identity):
                self.identity = identity
                self._record(identity, succeeded=True)
                answer = answers.LOGGED_IN
            case WrongCredentials(user=user):
                self._record(user, succeeded=False)
                answer = answers.WRONG_CREDENTIALS
            case Malformed(detail=detail):
                answer = answers.LOGIN_MALFORMED.with_detail(detail)
            case Unavailable():
                answer = answers.LOGIN_UNAVAILABLE
        self._exchange = None
        session.reply(answer.code, answer.enhanced, answer.text)

    def _record(self, user: str, *, succeeded: bool) -> None:
        self._services.record(
            Authenticated(
                time=time.time(), client=self._line.client, user=user, succeeded=succeeded
            )
        )
