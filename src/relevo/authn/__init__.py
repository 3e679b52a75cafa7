"""Authentication of clients: SASL exchanges over the users files, and Dovecot behind them.

`Authenticator.start` gives an `Exchange`; each of its steps is answered by one of the `Step`
values. Nothing here knows SMTP: responses come in decoded, verdicts go out as values.
"""

from relevo.authn.authenticator import Authenticator
from relevo.authn.dovecot import Dovecot
from relevo.authn.exchanges import Exchange
from relevo.authn.identity import InvalidIdentity, parse_identity
from relevo.authn.passwords import make_credential, verify
from relevo.authn.server_secret import server_secret
from relevo.authn.steps import (
    Challenge,
    LoggedIn,
    Malformed,
    Step,
    Unavailable,
    WrongCredentials,
)

__all__ = [
    "Authenticator",
    "Challenge",
    "Dovecot",
    "Exchange",
    "InvalidIdentity",
    "LoggedIn",
    "Malformed",
    "Step",
    "Unavailable",
    "WrongCredentials",
    "make_credential",
    "parse_identity",
    "server_secret",
    "verify",
]
