"""The part of the configuration tree that is about mail that goes on to others."""

# ruff: noqa: RUF009 -- key() is dataclasses.field() with documentation, not a value

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from relevo.config.key import key

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarding:
    """[forwarding]: mail from outside that aliases lead to other servers."""

    rewrite: str = key(
        "The reverse-path that such mail leaves with: `srs`, one of our domain that leads bounces "
        "back to the sender and lets SPF pass; `chasquid`, USER+fwd_from=LOCAL=DOMAIN; `off`, the "
        "sender's own.",
        "srs",
        choices=("srs", "chasquid", "off"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """[relay]: mail for other domains from clients that have not logged in."""

    networks: tuple[str, ...] = key(
        "Addresses and networks of clients that may send to any domain without logging in: "
        "machines of yours that cannot log in. Everybody else may not, nor may a trusted proxy "
        "that has named no client. SPF is not asked about them.",
        (),
    )
    verify_timeout: timedelta = key(
        "How long the server of a `[[relay_domain]]` may take to say whether a recipient exists.",
        timedelta(seconds=20),
        least=timedelta(milliseconds=100),
        most=timedelta(minutes=2),
    )
    known_for: timedelta = key(
        "How long is remembered that it does; that it does not, a tenth of that.",
        timedelta(hours=2),
        least=timedelta(0),
        most=_DAY,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredRelayDomain:
    """One [[relay_domain]]: mail for a domain that others keep is taken and passed on."""

    domain: str = key("The domain. Needed.", "")
    recipients: str = key(
        "A file with the recipients that exist, one address or local part a line (`#` starts a "
        "comment); relative to the config directory. Empty: the domain's server is asked at RCPT, "
        "and remembered.",
        "",
    )
