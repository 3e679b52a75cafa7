"""The name that a client logs in with: `user@domain`, both in their one normal form.

Drop characters and suffixes do not apply here: `us.er@d.test` is another user than `user@d.test`.
"""

from __future__ import annotations

from relevo.mail.address import (
    Address,
    InvalidDomain,
    InvalidUser,
    normalize_domain,
    normalize_user,
)


class InvalidIdentity(ValueError):
    """Not a login name; the text may be shown to the client."""


def parse_identity(text: str, *, needs_domain: bool = True) -> Address:
    """The normalized identity; without a domain where another server knows such users.

    Raises InvalidIdentity.
    """
    user, at, domain = text.rpartition("@")
    if not at and not needs_domain:
        user, domain = text, ""
    if not user or (not domain and (at or needs_domain)):
        raise InvalidIdentity("the identity must have the form user@domain")
    try:
        return Address(normalize_user(user), normalize_domain(domain) if domain else "")
    except InvalidUser as error:
        raise InvalidIdentity("the user name holds characters that are not allowed") from error
    except InvalidDomain as error:
        raise InvalidIdentity("the part after the @ is not a domain name") from error
