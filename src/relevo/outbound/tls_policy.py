"""What is demanded of TLS with the hosts of a domain: levels seen, MTA-STS, DANE, REQUIRETLS.

| source | demand |
|---|---|
| level of former connections (chasquid's behaviour) | TLS, or a valid certificate, where that was had before |
| MTA-STS policy in mode enforce (RFC 8461) | a host that it names, and a valid certificate |
| TLSA records, when DNSSEC vouches for MX, address and records (RFC 7672) | a certificate that they name; TLS, where none of them can be used |
| REQUIRETLS of the message (RFC 8689) | a verified certificate, and a host name that is not DNS's word alone |
| `outbound_tls.verify` | a valid certificate |

The strictest counts; DANE takes the place of a valid certificate. `outbound_tls.relax` names domains
of which nothing is demanded. What cannot be looked up safely is a `HostRefused`: the message waits.
"""  # noqa: E501 - a table

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from relevo.dns import DnsFailed, Outcome
from relevo.mail import InvalidAddress, normalize_domain
from relevo.outbound.dane import is_usable, tlsa_bases
from relevo.outbound.host_tls import HostTls, Need
from relevo.outbound.mta_sts import Mode, StsPolicy
from relevo.outbound.mta_sts_lookup import FoundPolicy
from relevo.queue import SecurityLevel
from relevo.queue.store import StoreFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from relevo.delivery.link_values import TlsFacts
    from relevo.dns import SecureLookups, TlsaRecord
    from relevo.outbound.mta_sts_lookup import StsPolicies
    from relevo.outbound.peer import PeerUnusable
    from relevo.outbound.tls_reports import TlsReports

_log = logging.getLogger(__name__)

NOTHING_FOUND = FoundPolicy()
LOOK_UP_S = 60.0  # for all that has to be known of a domain


class Levels(Protocol):
    """The levels of former connections (`relevo.queue.levels_outgoing`)."""

    async def level(self, domain: str) -> SecurityLevel:
        """The best so far."""

    async def learned(self, domain: str, level: SecurityLevel) -> None:
        """A connection has this level."""


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """What of the configuration is about policies. Domains are A-labels in lower case."""

    uses_mta_sts: bool = True
    uses_dane: bool = True
    uses_levels: bool = True
    relaxed: frozenset[str] = frozenset()
    verified: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class HostRefused:
    """This host must not be used now: try the next one. Always temporary.

    `why` is for the log and the sender; `tls_result` as in PeerUnusable.
    """

    why: str
    tls_result: str = ""


@dataclass(frozen=True, slots=True)
class DomainTls:
    """What is known of one domain, for one attempt at its hosts."""

    domain: str
    level: SecurityLevel = SecurityLevel.PLAIN
    found: FoundPolicy = NOTHING_FOUND
    is_mx_secure: bool = False
    is_relaxed: bool = False
    is_verified_demanded: bool = False
    lookups: SecureLookups | None = None  # None: no DANE
    tlsa: dict[str, tuple[TlsaRecord, ...]] = field(default_factory=dict)  # by host, as found

    @property
    def policy(self) -> StsPolicy | None:
        """Its MTA-STS policy, whatever the mode."""
        return self.found.kept.policy if self.found.kept is not None else None

    async def for_host(
        self,
        host: str,
        *,
        port: int = 25,
        is_address_secure: bool = False,
        alias_of: str = "",
        requires_tls: bool = False,
    ) -> HostTls | HostRefused:
        """The demand on `host`. Never raises.

        `is_address_secure`: its A or AAAA answer was authenticated by DNSSEC, the aliases that led
        to it included; `alias_of`: the name at their end, "": there are none. `requires_tls`: the
        message demands REQUIRETLS (RFC 8689); whether the peer offers that is to be seen in
        `link.extensions`.
        """
        if self.is_relaxed and not requires_tls:
            return HostTls(why="")
        allowed = self._allows(host, requires_tls=requires_tls)
        if isinstance(allowed, HostRefused):
            return allowed
        demands = self._demands(requires_tls=requires_tls)
        if self.is_mx_secure and self.lookups is not None and (is_address_secure or alias_of):
            dane = await self._dane(
                self.lookups, host, port, alias_of, is_address_secure=is_address_secure
            )
            if isinstance(dane, HostRefused):
                return dane
            if dane is not None:
                demands.append(dane)
        return max(demands, key=lambda demand: demand.need)

    def _allows(self, host: str, *, requires_tls: bool) -> HostRefused | None:
        """May mail of this domain go to this host at all?"""
        policy = self.policy
        is_named = policy is not None and policy.mode is not Mode.NONE and policy.allows(host)
        if policy is not None and policy.mode is Mode.ENFORCE and not is_named:
            return HostRefused(f"the MTA-STS policy of {self.domain} does not name it",
                               "validation-failure")  # fmt: skip
        if requires_tls and not (is_named or self.is_mx_secure):
            # RFC 8689 §4.2.1
            return HostRefused("the message demands REQUIRETLS, and neither DNSSEC nor MTA-STS "
                               f"says that it is a server of {self.domain}")  # fmt: skip
        return None

    def _demands(self, *, requires_tls: bool) -> list[HostTls]:
        demands = [HostTls()]
        if self.level is SecurityLevel.TLS_SECURE:
            demands.append(HostTls(Need.VERIFIED, "earlier connections had a valid certificate"))
        elif self.level >= SecurityLevel.TLS_CLIENT:
            demands.append(HostTls(Need.ENCRYPTED, "earlier connections had TLS"))
        if self.policy is not None and self.policy.mode is Mode.ENFORCE:
            demands.append(HostTls(Need.VERIFIED, f"the MTA-STS policy of {self.domain}"))
        if self.is_verified_demanded:
            demands.append(HostTls(Need.VERIFIED, "demanded by the configuration"))
        if requires_tls:
            demands.append(HostTls(Need.VERIFIED, "the message demands REQUIRETLS"))
        return demands

    async def _dane(
        self,
        lookups: SecureLookups,
        host: str,
        port: int,
        alias_of: str,
        *,
        is_address_secure: bool,
    ) -> HostTls | HostRefused | None:
        """What the TLSA records of a host demand (RFC 7672 §2.2); None: it has none."""
        try:
            bases = await tlsa_bases(lookups, host, alias_of, is_secure=is_address_secure)
            for base in bases:
                answer = await lookups.tlsa(f"_{port}._tcp.{base}")
                if answer.outcome is Outcome.FOUND and answer.is_authenticated:
                    break
            else:
                return None
        except DnsFailed:
            # forged records look so too: without an answer there is no safe way (§2.1.2)
            return HostRefused("its TLSA records cannot be looked up", "dnssec-invalid")
        self.tlsa[host] = answer.records
        usable = tuple(record for record in answer.records if is_usable(record))
        if not usable:
            return HostTls(Need.ENCRYPTED, "it has TLSA records, though none that can be used")
        names = (self.domain,) if base == host else (self.domain, base)
        return HostTls(Need.DANE, "its TLSA records", names=names, tlsa=usable, server_name=base)


class TlsPolicies:
    """All domains, for one worker. `settings` may be replaced at any time."""

    def __init__(
        self,
        settings: PolicySettings,
        *,
        lookups: Callable[[], SecureLookups],
        levels: Levels,
        sts: StsPolicies | None = None,
        reports: TlsReports | None = None,
    ) -> None:
        self.settings = settings
        self._lookups = lookups
        self._levels = levels
        self._sts = sts
        self._reports = reports

    async def for_domain(self, domain: str, *, is_mx_secure: bool = False) -> DomainTls:
        """What is known of `domain` (A-labels). Takes a minute at most.

        `is_mx_secure`: the MX answer (its absence too) was authenticated by DNSSEC. Where the level
        cannot be read, the best is assumed: the message waits rather than going in clear.
        """
        settings = self.settings
        name = domain.lower().removesuffix(".")
        if name in settings.relaxed:
            return DomainTls(name, is_mx_secure=is_mx_secure, is_relaxed=True)
        level, found = await asyncio.gather(self._level(name), self._find(name))
        lookups = self._lookups()
        return DomainTls(
            name,
            level,
            found,
            is_mx_secure,
            is_verified_demanded=name in settings.verified,
            lookups=lookups if is_mx_secure and await self._may_dane(lookups) else None,
        )

    async def learned(self, domain: DomainTls, facts: TlsFacts) -> None:
        """A connection of this kind is about to be used; raises the level of the domain.

        What DANE verified need not have a valid certificate: it counts as TLS.
        """
        if domain.is_relaxed or not self.settings.uses_levels or not facts.is_tls:
            return
        is_secure = facts.how == "webpki"
        level = SecurityLevel.TLS_SECURE if is_secure else SecurityLevel.TLS_INSECURE
        try:
            await self._levels.learned(_in_unicode(domain.domain), level)
        except StoreFailed as error:
            _log.warning("the TLS level of %s cannot be kept: %s", domain.domain, error)

    def report(
        self,
        domain: DomainTls,
        host: str,
        address: str,
        outcome: TlsFacts | PeerUnusable | HostRefused,
    ) -> None:
        """Count the outcome of a connection for the reports of RFC 8460; cheap, never raises."""
        if self._reports is not None:
            self._reports.add(domain, host, address, outcome)

    async def _level(self, name: str) -> SecurityLevel:
        if not self.settings.uses_levels:
            return SecurityLevel.PLAIN
        try:
            return await self._levels.level(_in_unicode(name))
        except StoreFailed as error:
            _log.warning("the TLS level of %s cannot be read: %s", name, error)
            return SecurityLevel.TLS_SECURE

    async def _find(self, name: str) -> FoundPolicy:
        if self._sts is None or not self.settings.uses_mta_sts:
            return FoundPolicy()
        try:
            async with asyncio.timeout(LOOK_UP_S):
                return await self._sts.find(name)
        except TimeoutError:
            return FoundPolicy()

    async def _may_dane(self, lookups: SecureLookups) -> bool:
        """Does the resolver pass on what DNSSEC says? Else an AD flag may be anybody's."""
        if not self.settings.uses_dane:
            return False
        try:
            return await lookups.is_dnssec_seen()
        except DnsFailed:
            return False


def _in_unicode(name: str) -> str:
    """The form in which levels are kept, those of incoming mail and those taken over too."""
    try:
        return normalize_domain(name)
    except InvalidAddress:
        return name
