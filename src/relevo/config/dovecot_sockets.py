"""Where Dovecot's authentication sockets are: as configured, else where chasquid looks for them.

Looked for anew at each use, so that it does not matter which of the two servers starts first.
"""

from __future__ import annotations

from pathlib import Path

from relevo.config.reception_model import Auth

USERDB_PLACES = ("/var/run/dovecot/auth-chasquid-userdb", "/var/run/dovecot/auth-userdb")
CLIENT_PLACES = ("/var/run/dovecot/auth-chasquid-client", "/var/run/dovecot/auth-client")


def userdb_socket(auth: Auth) -> str | None:
    """The socket that tells whether a user exists; None: there is none where it was looked for."""
    return auth.dovecot_userdb_path or _first(USERDB_PLACES)


def client_socket(auth: Auth) -> str | None:
    """The socket that checks passwords; None: there is none where it was looked for."""
    return auth.dovecot_client_path or _first(CLIENT_PLACES)


def _first(places: tuple[str, ...]) -> str | None:
    return next((place for place in places if is_socket(place)), None)


def is_socket(path: str) -> bool:
    """Is there a socket that we may see?"""
    try:
        return Path(path).is_socket()
    except OSError:
        return False
