"""The part of the configuration tree that is about DNS and what it tells of a sender."""

# ruff: noqa: RUF009 -- key() is dataclasses.field() with documentation, not a value

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from relevo.config.key import key

_MS = timedelta(milliseconds=1)
_MIB = 1024 * 1024
_GIB = 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Dns:
    """[dns]"""

    servers: tuple[str, ...] = key(
        "Name servers that resolve any name: `address`, `address:port` or `[v6]:port`; their word "
        "on DNSSEC is taken. Empty: the system's (/etc/resolv.conf).",
        (),
    )
    timeout: timedelta = key(
        "A look-up ends after this, all servers and tries included.",
        timedelta(seconds=5),
        least=100 * _MS,
        most=timedelta(minutes=1),
    )
    cache_size: int = key(
        "Answers kept, a worker.",
        4 * _MIB,
        unit="bytes",
        least=0,
        most=_GIB,
    )
    signed_name: str = key(
        "A zone known to be signed: DANE is used only where the name servers say so of it (its "
        "SOA record must come with the AD flag, or be validated).",
        ".",
    )
    dnssec: str = key(
        "Who validates answers by DNSSEC: `resolver`, the name servers, by their word; `validate`, "
        "this server, from the trust anchor on. Then the name servers need only pass on what "
        "DNSSEC has, and an answer that it contradicts is none, whatever it is asked for.",
        "resolver",
        choices=("resolver", "validate"),
    )
    trust_anchor: str = key(
        "With `validate`: a file with the DS or DNSKEY records that are trusted, as lines of a "
        "zone file. Empty: the root's.",
        "",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Spf:
    """[spf]"""

    check: bool = key(
        "Ask at MAIL whether the client may send mail of the sender's domain (RFC 7208); not for "
        "those who logged in.",
        True,
    )
    check_helo: bool = key(
        "Ask it of the name that the client gave in EHLO, too; for the null reverse-path, which "
        "has no domain, that is the whole check.",
        True,
    )
    reject_fail: bool = key(
        "Answer 550 5.7.23 where the domain says that it may not. No other result refuses.", True
    )
    skip_networks: tuple[str, ...] = key(
        "Clients that are not checked: addresses and networks, such as `192.0.2.0/24`.",
        ("127.0.0.0/8", "::1/128"),
    )
    timeout: timedelta = key(
        "A check ends after this, all its look-ups included; its result is then `temperror`.",
        timedelta(seconds=20),
        least=100 * _MS,
        most=timedelta(minutes=1),
    )
    remember_tls: bool = key(
        "Answer 550 5.7.3 to mail in clear text of a domain whose mail came over TLS before, "
        "both times with an SPF `pass`.",
        True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Dkim:
    """[dkim]"""

    verify: bool = key(
        "Verify signatures of mail from outside (RFC 6376); the results stand in "
        "Authentication-Results. Nothing is refused because of them.",
        True,
    )
    sign: bool = key(
        "Sign what users submit with every key `domains/<domain>/dkim:<selector>.pem` of the "
        "signing domain.",
        True,
    )
    signing_domain: str = key(
        "Whose keys sign: the domain of the From field (`author`), which is what DMARC looks at, "
        "or that of MAIL FROM (`envelope`).",
        "author",
        choices=("author", "envelope"),
    )
    timeout: timedelta = key(
        "Keys of a message's signatures are waited for this long, all together; results are then "
        "`temperror`.",
        timedelta(seconds=10),
        least=100 * _MS,
        most=timedelta(minutes=1),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Arc:
    """[arc]"""

    validate: bool = key(
        "Validate the chain of servers that handed a message on (RFC 8617); the result stands in "
        "Authentication-Results.",
        True,
    )
    seal: bool = key(
        "Add our link to the chain of a message from outside that goes on to another server, with "
        "a DKIM key of the domain through which it goes. Needs `arc.validate`.",
        True,
    )
    trusted: tuple[str, ...] = key(
        "Domains of servers that are believed: where the newest links of a valid chain are theirs, "
        "and one says that DMARC passed, what DMARC finds here refuses and tags nothing.",
        (),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Dmarc:
    """[dmarc]"""

    action: str = key(
        "What follows when the author's domain does not stand behind a message from outside (RFC "
        "9989). `none`: it is not asked. `tag`: it stands in Authentication-Results. `quarantine`: "
        "where the domain wants quarantine or refusal, the message is delivered with a field "
        "`Relevo-Quarantine`. `reject`: so, and where the domain wants refusal the message is "
        "answered 550 5.7.1. Needs `spf.check` and `dkim.verify`; mail of clients in "
        "`spf.skip_networks` is not judged.",
        "quarantine",
        choices=("none", "tag", "quarantine", "reject"),
    )
    quarantine: str = key(
        "What quarantine by DMARC is: the message is delivered with that field and the tag "
        "`quarantine` (`tag`), or it is kept aside for `relevo quarantine` (`hold`; see "
        "`[quarantine]`).",
        "tag",
        choices=("tag", "hold"),
    )
    bad_from: str = key(
        "A message from outside that does not say clearly who wrote it (no From field, several, "
        "addresses of several domains, one that programs read in different ways): answer 550 5.7.1 "
        "(`refuse`), or deliver it with `dmarc=permerror` (`accept`).",
        "refuse",
        choices=("refuse", "accept"),
    )
    on_temperror: str = key(
        "Where DNS cannot say what the policy is: `accept` the message, or `defer` it with 451.",
        "accept",
        choices=("accept", "defer"),
    )
    organizational_domain: str = key(
        "How it is found out whether two domains are of one owner, and whose policy applies: by "
        "asking DNS (`tree_walk`, RFC 9989), or by a list of public suffixes (`public_suffix`, RFC "
        "7489, as it was before May 2026).",
        "tree_walk",
        choices=("tree_walk", "public_suffix"),
    )
    public_suffix_list: str = key(
        "The file with that list, in the form of publicsuffix.org; read anew with each reload. "
        "Debian has it in the package publicsuffix.",
        "/usr/share/publicsuffix/public_suffix_list.dat",
    )
    timeout: timedelta = key(
        "The policy is looked for this long; the result is then `temperror`.",
        timedelta(seconds=10),
        least=100 * _MS,
        most=timedelta(minutes=1),
    )
    reports: bool = key(
        "Tell other domains once a day what was found about mail of theirs, when they ask for it "
        "(aggregate reports, RFC 9990).",
        True,
    )
    report_delay: timedelta = key(
        "Reports on a day go out within this long of its end (UTC), at a moment that differs from "
        "day to day.",
        timedelta(hours=4),
        least=timedelta(0),
        most=timedelta(hours=12),
    )
    failure_reports: bool = key(
        "Tell other domains at once of single messages that fail, when they ask for it (failure "
        "reports, RFC 9991). They show a part of the header: author, date, id and signatures, "
        "nothing of recipients, subject and text.",
        False,
    )
    failure_reports_an_hour: int = key(
        "At most so many failure reports an hour are sent on one domain, by each worker.",
        10,
        least=1,
        most=100,
    )
    report_contact: str = key("The address in all these reports; empty: the postmaster's.", "")
