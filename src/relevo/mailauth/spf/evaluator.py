"""check_host(): whether a client may use a domain's name (RFC 7208 §4, §5, §6).

Evaluation costs somebody else's DNS, so it is bounded four ways (§4.6.4): terms that look up, terms
whose look-up finds nothing, names of one MX or PTR answer, and time. What a mechanism asks about is
expanded from text that the client chose; the resolver takes any text for a name.

A look-up that fails makes the result temperror, but for the client's own names (`ptr`, `%{p}`),
which then count as unverified (§5.5), and for explanations, which are then left out (§6.2).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import assert_never

from relevo.dns import Answer, BadName, DnsFailed, DnsLookups, ask_name
from relevo.dns.at_once import within
from relevo.mailauth.spf.macros import (
    BadMacro,
    MacroString,
    dotted_address,
    expand,
    expand_domain,
    letters,
    parse_explanation,
)
from relevo.mailauth.spf.record import (
    A,
    All,
    BadRecord,
    Exists,
    Include,
    Ip,
    Mechanism,
    Mx,
    Ptr,
    parse_record,
    select_record,
)
from relevo.mailauth.spf.result import SpfIdentity, SpfOutcome, SpfResult
from relevo.value import dataclass

MAX_LOOKUPS = 10
MAX_VOID_LOOKUPS = 2
MAX_NAMES = 10  # of one MX or PTR answer
TIMEOUT_S = 20.0  # §4.6.4: at least 20 s
MAX_REASON = 200
MAX_EXPLANATION = 500
_MAX_EXPLANATION_RECORD = 4096
_NO_RECORD = "no DNS record found"


async def check_host(
    client_ip: IPv4Address | IPv6Address | str,
    reverse_path: str,
    hello_name: str,
    resolver: DnsLookups,
    *,
    receiver: str = "unknown",
    with_explanation: bool = False,
    timeout_s: float = TIMEOUT_S,
    trace: Callable[[str], None] | None = None,
) -> SpfResult:
    """Check the domain of `reverse_path`, or that of `hello_name` for the null reverse-path.

    `reverse_path` is `local@domain`, "" or "<>". `receiver` is our host name, for explanations.
    With `with_explanation`, a fail asks for the domain's explanation, which is one look-up more.
    `timeout_s` bounds the check, and once more the explanation. `trace` is told each step, for
    people. Raises nothing: whatever goes wrong is an outcome.
    """
    is_null = reverse_path in {"", "<>"}
    local, _, domain = ("", "", hello_name) if is_null else reverse_path.rpartition("@")
    identity = SpfIdentity.HELO if is_null else SpfIdentity.MAIL_FROM
    checked = _checked_domain(domain)
    if checked is None:
        return SpfResult(SpfOutcome.NONE, "not a domain name", identity, domain)
    ip = _plain_ip(client_ip)
    if ip is None:
        return SpfResult(SpfOutcome.NONE, "not an IP address", identity, checked)
    steps: list[str] | None = None if trace is None else []
    check = _Check(ip, local or "postmaster", checked, hello_name, receiver, resolver, steps)
    try:
        verdict = await within(timeout_s, lambda: check.evaluated(checked))
    except DnsFailed as error:
        verdict = _Verdict(SpfOutcome.TEMPERROR, f"DNS could not tell: {error.question}")
    except TimeoutError:
        verdict = _Verdict(SpfOutcome.TEMPERROR, f"the check took longer than {timeout_s:g} s")
    except (_Invalid, BadRecord) as error:
        verdict = _Verdict(SpfOutcome.PERMERROR, str(error))
    if trace is not None:
        for step in steps or ():
            trace(step)
    explanation = ""
    target = verdict.explanation
    if target is not None and with_explanation:
        with suppress(TimeoutError):
            explanation = await within(timeout_s, lambda: check.explanation(target, verdict.domain))
    reason = _printable(verdict.reason, MAX_REASON)
    return SpfResult(verdict.outcome, reason, identity, checked, explanation)


class _Invalid(Exception):
    """A well-formed record that leads nowhere or too far: permerror. The text says why."""


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What the record of `domain` says; `explanation` is where it says why it fails."""

    outcome: SpfOutcome
    reason: str
    domain: str = ""
    explanation: MacroString | None = None


class _Check:
    """One run of check_host with what it has used up; records include each other through it."""

    def __init__(
        self,
        ip: IPv4Address | IPv6Address,
        local: str,
        sender_domain: str,
        hello_name: str,
        receiver: str,
        resolver: DnsLookups,
        steps: list[str] | None = None,
    ) -> None:
        """`steps`: takes what is done, for people; None: nobody wants to know."""
        self._ip = ip
        self._steps = steps
        self._resolver = resolver
        self._lookups = 0
        self._void_lookups = 0
        self._client_names: tuple[str, ...] | None = None
        self._local, self._sender_domain = local, sender_domain
        self._hello_name, self._receiver = hello_name, receiver

    async def evaluated(self, domain: str) -> _Verdict:
        """The verdict of the checked domain's record, from the beginning at each call."""
        self._lookups = self._void_lookups = 0
        if self._steps is not None:
            self._steps.clear()
        return await self.domain(domain)

    async def domain(self, domain: str) -> _Verdict:
        """The verdict of a domain's record; NONE when it has none."""
        octets = select_record((await self._resolver.txt(domain)).records)
        if octets is None:
            return _Verdict(SpfOutcome.NONE, _NO_RECORD, domain)
        if self._steps is not None:
            self._steps.append(f"{domain}: record {octets.decode('latin-1')}")
        record = parse_record(octets)
        for directive in record.directives:
            reason = await self._match(directive.mechanism, domain)
            if self._steps is not None:
                matches = "does not match" if reason is None else directive.outcome.value
                self._steps.append(f"{domain}: {directive.text} → {matches}")
            if reason is not None:
                is_fail = directive.outcome is SpfOutcome.FAIL
                explanation = record.explanation if is_fail else None
                return _Verdict(directive.outcome, reason, domain, explanation)
        if record.redirect is None:
            return _Verdict(SpfOutcome.NEUTRAL, "no mechanism matched", domain)
        self._count_lookup()
        return await self._other_domain(record.redirect, domain, "redirect")

    async def explanation(self, target: MacroString, domain: str) -> str:
        """What the domain of a fail wants to be said, or "" (§6.2)."""
        try:
            records = (await self._resolver.txt(await self._name(target, domain))).records
            if len(records) != 1 or len(records[0]) > _MAX_EXPLANATION_RECORD:
                return ""
            macros = parse_explanation(records[0].decode("ascii"))
        except (DnsFailed, BadMacro, UnicodeDecodeError):
            return ""
        return _printable(expand(macros, await self._all_values(macros, domain)), MAX_EXPLANATION)

    async def _match(self, mechanism: Mechanism, domain: str) -> str | None:
        """Why the mechanism matches; None: it does not."""
        match mechanism:
            case All():
                return "matched all"
            case Ip(network):
                return "matched ip" if self._ip in network else None
            case _:
                self._count_lookup()
        match mechanism:
            case Include(target):
                verdict = await self._other_domain(target, domain, "include")
                return verdict.reason if verdict.outcome is SpfOutcome.PASS else None
            case A(target, prefix4, prefix6):
                addresses = await self._addresses(await self._name(target, domain))
                self._count_void(addresses.records)
                return "matched a" if self._is_among(addresses, prefix4, prefix6) else None
            case Mx(target, prefix4, prefix6):
                matches = await self._match_mx(await self._name(target, domain), prefix4, prefix6)
                return "matched mx" if matches else None
            case Ptr(target):
                matches = await self._match_ptr(await self._name(target, domain))
                return "matched ptr" if matches else None
            case Exists(target):
                # IPv4, whatever the client has (§5.7)
                found = await self._resolver.a(await self._name(target, domain))
                self._count_void(found.records)
                return "matched exists" if found.records else None
            case _:
                assert_never(mechanism)

    async def _other_domain(self, target: MacroString, domain: str, word: str) -> _Verdict:
        """The verdict of a domain that a record leads to, which must have one (§5.2, §6.1)."""
        name = await self._name(target, domain)
        verdict = await self.domain(name)
        if verdict.outcome is SpfOutcome.NONE:
            raise _Invalid(f"{word} leads to {name}, which has no SPF record")
        return verdict

    async def _match_mx(self, name: str, prefix4: int, prefix6: int) -> bool:
        exchanges = await self._resolver.mx(name)
        self._count_void(exchanges.records)
        if len(exchanges.records) > MAX_NAMES:
            raise _Invalid(f"{name} has more than {MAX_NAMES} mail exchanges")
        for exchange in exchanges.records:
            if exchange.host and self._is_among(
                await self._addresses(exchange.host), prefix4, prefix6
            ):
                return True
        return False

    async def _match_ptr(self, name: str) -> bool:
        wanted = name.lower()
        names = [each.lower() for each in await self._names_of_client()]
        return any(each == wanted or each.endswith(f".{wanted}") for each in names)

    async def _names_of_client(self) -> tuple[str, ...]:
        """Names of the client that lead back to it (§5.5); looked for once a check."""
        if self._client_names is None:
            names = []
            try:
                claimed = (await self._resolver.ptr(self._ip)).records[:MAX_NAMES]
            except DnsFailed:
                claimed = ()
            for name in claimed:
                try:
                    addresses = await self._addresses(name)
                except DnsFailed:
                    continue
                if self._ip in addresses.records:
                    names.append(name)
            self._client_names = tuple(names)
        return self._client_names

    async def _addresses(self, name: str) -> Answer[IPv4Address] | Answer[IPv6Address]:
        """Addresses of the client's family."""
        if isinstance(self._ip, IPv4Address):
            return await self._resolver.a(name)
        return await self._resolver.aaaa(name)

    def _is_among(
        self, answer: Answer[IPv4Address] | Answer[IPv6Address], prefix4: int, prefix6: int
    ) -> bool:
        shift = 32 - prefix4 if isinstance(self._ip, IPv4Address) else 128 - prefix6
        own = int(self._ip) >> shift
        return any(int(address) >> shift == own for address in answer.records)

    async def _name(self, target: MacroString | None, domain: str) -> str:
        """The name that a term is about."""
        if target is None:
            return domain
        return expand_domain(target, await self._all_values(target, domain))

    async def _all_values(self, macros: MacroString, domain: str) -> dict[str, str]:
        if all(isinstance(part, str) for part in macros):
            return {}
        values = {
            "s": f"{self._local}@{self._sender_domain}",
            "l": self._local,
            "o": self._sender_domain,
            "d": domain,
            "i": dotted_address(self._ip),
            "h": self._hello_name,
            "v": "in-addr" if self._ip.version == 4 else "ip6",
            "c": str(self._ip),
            "r": self._receiver,
            "t": str(int(time.time())),
        }
        if "p" in letters(macros):
            values["p"] = _best_name(await self._names_of_client(), domain)
        return values

    def _count_lookup(self) -> None:
        self._lookups += 1
        if self._lookups > MAX_LOOKUPS:
            raise _Invalid(f"more than {MAX_LOOKUPS} terms that need DNS")

    def _count_void(self, records: Sequence[object]) -> None:
        """Count a term whose own question found nothing.

        §4.6.4 speaks of terms. The addresses of mail exchanges and the client's names are not
        counted: a domain with IPv4 exchanges would be in error for every IPv6 client.
        """
        if records:
            return
        self._void_lookups += 1
        if self._void_lookups > MAX_VOID_LOOKUPS:
            raise _Invalid(f"more than {MAX_VOID_LOOKUPS} terms that find nothing in DNS")


def _best_name(names: tuple[str, ...], domain: str) -> str:
    """The value of `p`: the domain itself, else a name below it, else any, else "unknown"."""
    wanted = domain.lower()
    below = [name for name in names if name.lower().endswith(f".{wanted}")]
    same = [name for name in names if name.lower() == wanted]
    return next(iter([*same, *below, *names]), "unknown")


def _checked_domain(domain: str) -> str | None:
    """The domain, with A-labels; None when it is no name of several labels (§4.3)."""
    try:
        name = ask_name(domain)
    except BadName:
        return None
    if "." not in name or name.startswith("["):
        return None
    return domain if domain.isascii() else name  # macros give the case that the client wrote


@lru_cache(maxsize=4096)
def _plain_ip(client_ip: IPv4Address | IPv6Address | str) -> IPv4Address | IPv6Address | None:
    """The address; an IPv4 address within an IPv6 one counts as what it is (§5)."""
    try:
        ip = ip_address(client_ip)
    except ValueError:
        return None
    if isinstance(ip, IPv6Address):
        return ip.ipv4_mapped or IPv6Address(int(ip))  # without its scope
    return ip


def _printable(text: str, most: int) -> str:
    if text.isascii() and text.isprintable():
        return text[:most]
    return "".join(c if " " <= c <= "~" else "?" for c in text[:most])
