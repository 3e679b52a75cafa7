"""The part of the configuration tree that is about TLS with other servers."""

from __future__ import annotations

from dataclasses import dataclass

from relevo.config.key import key


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundTls:
    """[outbound_tls]"""

    mta_sts: bool = key("Look for MTA-STS policies of other domains, and keep to them.", True)
    dane: bool = key(
        "Check servers by their TLSA records, where a resolver that is trusted vouches for them by "
        "DNSSEC.",
        True,
    )
    remember: bool = key(
        "Demand TLS, or a valid certificate, where earlier connections to a domain had it "
        "(`relevo tls-level` lists and clears).",
        True,
    )
    verify: tuple[str, ...] = key("Domains whose servers need a valid certificate.", ())
    relax: tuple[str, ...] = key(
        "Domains of whose servers nothing is demanded, whatever else says so, but by REQUIRETLS of "
        "a message.",
        (),
    )
    ca_file: str = key(
        "Authorities that are trusted instead of the system's: a file of PEM certificates.", ""
    )
    reports: bool = key(
        "Tell other domains once a day how TLS with them went, when they ask for it (TLS-RPT).",
        True,
    )
    report_contact: str = key("The address in those reports; empty: the postmaster's.", "")
