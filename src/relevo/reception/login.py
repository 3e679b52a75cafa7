"""AUTH of one session: drives a SASL exchange and answers its steps (RFC 4954)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from relevo.authn import Challenge, LoggedIn, Malformed, Unavailable, WrongCredentials
from relevo.journal import Authenticated
from relevo.reception import answers
from relevo.reception.penalties import Offence

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from relevo.authn import Exchange
    from relevo.reception.answers import Answer
    from relevo.reception.line import Line
    from relevo.reception.services import Services
    from relevo.smtp import events


class Login:
    """Who the client is, once it has said so."""

    def __init__(
        self,
        line: Line,
        services: Services,
        approve: Callable[[str], Awaitable[Answer | None]],
    ) -> None:
        """`approve`: the last word about a user whose password is right; None is yes."""
        self._line = line
        self._services = services
        self._approve = approve
        self._exchange: Exchange | None = None
        self.identity = ""  # user@domain, normalized; "" until a login succeeded

    def on_auth(self, event: events.Auth) -> None:
        """AUTH: begin an exchange."""
        self._line.conduct.on_command()
        authenticator = self._services.authenticator
        binding = self._line.channel_binding
        if event.mechanism not in authenticator.mechanisms(has_channel_binding=binding is not None):
            # it was offered, but a reload has taken it away since
            answer = answers.MECHANISM_GONE
            self._line.session.reply(answer.code, answer.enhanced, answer.text)
            return
        self._exchange = authenticator.start(event.mechanism, binding)
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
                refusal = await self._approve(identity)
                if refusal is not None:
                    self._exchange = None
                    self._record(identity, succeeded=False)
                    if refusal.code == 421:  # closes the connection (RFC 5321 §4.2.3)
                        session.close(refusal.code, refusal.enhanced, refusal.text)
                    else:
                        session.reply(refusal.code, refusal.enhanced, refusal.text)
                    return
                self.identity = identity
                self._record(identity, succeeded=True)
                self._line.conduct.on_login()
                answer = answers.LOGGED_IN
            case WrongCredentials(user=user):
                self._record(user, succeeded=False)
                self._line.conduct.on_offence(Offence.AUTH)
                answer = answers.WRONG_CREDENTIALS
            case Malformed(detail=detail):
                answer = answers.LOGIN_MALFORMED.with_detail(detail)
                self._line.conduct.on_offence(Offence.PROTOCOL)
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
