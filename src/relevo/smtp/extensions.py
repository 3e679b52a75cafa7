"""The lines of the EHLO reply (RFC 5321 §4.1.1.1), from what a listener offers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relevo.smtp.xclient import ATTRIBUTES

if TYPE_CHECKING:
    from relevo.smtp.settings import SessionSettings


def capabilities(
    settings: SessionSettings,
    *,
    is_tls: bool,
    is_authenticated: bool = False,
    is_trusted: bool = False,
) -> list[str]:
    """Keywords in the order of the reply, without its first line.

    STARTTLS only before TLS, AUTH and REQUIRETLS only on it (RFC 3207 §4.2, RFC 4954 §4, RFC 8689
    §2). LIMITS is RFC 9422. Where MAIL needs AUTH, who may AUTH is shown what is for users.
    """
    lines = ["PIPELINING", f"SIZE {settings.max_size}", "8BITMIME", "SMTPUTF8"]
    lines.append("ENHANCEDSTATUSCODES")
    if settings.offers_chunking:
        lines.append("CHUNKING")
    if settings.offers_chunking and settings.offers_binarymime:
        lines.append("BINARYMIME")
    if settings.offers_dsn:
        lines.append("DSN")
    if settings.offers_starttls and not is_tls:
        lines.append("STARTTLS")
    if settings.offers_requiretls and is_tls:
        lines.append("REQUIRETLS")
    if settings.mechanisms and is_tls:
        lines.append("AUTH " + " ".join(settings.mechanisms))
    if settings.offers_xclient:
        lines.append("XCLIENT " + " ".join(ATTRIBUTES))
    if settings.wishes is not None:
        is_user = is_authenticated or (settings.requires_auth and is_tls)
        if is_user or is_trusted:
            lines += settings.wishes.keywords(may_hold=is_user)
    if settings.max_recipients:
        lines.append(f"LIMITS RCPTMAX={settings.max_recipients}")
    lines.append("HELP")
    return lines
