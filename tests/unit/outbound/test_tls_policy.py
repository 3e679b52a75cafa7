"""What is demanded of a host, put together from levels, MTA-STS, DANE and REQUIRETLS."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import pytest

from relevo.delivery.link_values import PLAIN, TlsFacts
from relevo.dns import TlsaRecord
from relevo.outbound.host_tls import HostTls, Need
from relevo.outbound.mta_sts import Mode, StsPolicy
from relevo.outbound.mta_sts_files import KeptPolicy
from relevo.outbound.mta_sts_lookup import FoundPolicy
from relevo.outbound.tls_policy import DomainTls, HostRefused, PolicySettings, TlsPolicies
from relevo.queue import SecurityLevel
from relevo.queue.store import StoreFailed
from unit.delivery.loops import Runner
from unit.outbound.fake_dns import FakeDns

HOST = "mx.b.test"
TLSA = ("tlsa", f"_25._tcp.{HOST}")
RIGHT = TlsaRecord(3, 1, 1, hashlib.sha256(b"key").digest())
UNUSABLE = TlsaRecord(1, 1, 1, bytes(32))
INSECURE = TlsFacts("TLS-1.3", "cipher")
WEBPKI = TlsFacts("TLS-1.3", "cipher", "webpki")
BY_DANE = TlsFacts("TLS-1.3", "cipher", "dane")


@dataclass
class FakeLevels:
    known: dict[str, SecurityLevel] = field(default_factory=dict)
    is_broken: bool = False

    async def level(self, domain: str) -> SecurityLevel:
        if self.is_broken:
            raise StoreFailed("disk")
        return self.known.get(domain, SecurityLevel.PLAIN)

    async def learned(self, domain: str, level: SecurityLevel) -> None:
        if self.is_broken:
            raise StoreFailed("disk")
        self.known[domain] = max(level, self.known.get(domain, SecurityLevel.PLAIN))


@dataclass
class FakeSts:
    found: FoundPolicy = FoundPolicy()  # noqa: RUF009 - frozen

    async def find(self, _domain: str) -> FoundPolicy:
        return self.found


def policy(mode: Mode, *mx: str) -> FoundPolicy:
    return FoundPolicy(KeptPolicy(StsPolicy(mode, 1000, mx), "1", 0.0))


class World:
    """Everything that may demand something."""

    def __init__(self, settings: PolicySettings | None = None) -> None:
        self.dns = FakeDns(is_secure=True)
        self.levels = FakeLevels()
        self.sts = FakeSts()
        self.policies = TlsPolicies(
            settings or PolicySettings(),
            lookups=lambda: self.dns,
            levels=self.levels,
            sts=self.sts,  # type: ignore[arg-type]  # only `find` is asked
        )

    async def domain(self, *, is_mx_secure: bool = True) -> DomainTls:
        return await self.policies.for_domain("B.test", is_mx_secure=is_mx_secure)

    async def demand(
        self, *, is_mx_secure: bool = True, is_address_secure: bool = True, requires: bool = False
    ) -> HostTls | HostRefused:
        domain = await self.domain(is_mx_secure=is_mx_secure)
        return await domain.for_host(
            HOST, is_address_secure=is_address_secure, requires_tls=requires
        )

    async def need(self, *, is_mx_secure: bool = True, is_address_secure: bool = True) -> Need:
        demand = await self.demand(is_mx_secure=is_mx_secure, is_address_secure=is_address_secure)
        assert isinstance(demand, HostTls)
        return demand.need


def test_nothing_is_known(run: Runner) -> None:
    assert run(World().demand()) == HostTls()


def test_levels_rise_and_are_demanded(run: Runner) -> None:
    async def check() -> None:
        world = World()
        for facts, need in (
            (PLAIN, Need.NONE),
            (INSECURE, Need.ENCRYPTED),
            (PLAIN, Need.ENCRYPTED),
            (BY_DANE, Need.ENCRYPTED),
            (WEBPKI, Need.VERIFIED),
            (INSECURE, Need.VERIFIED),
        ):
            await world.policies.learned(await world.domain(), facts)
            assert await world.need() is need
        world.policies.settings = PolicySettings(uses_levels=False)
        assert await world.need() is Need.NONE

    run(check())


def test_a_level_that_cannot_be_read_is_not_taken_for_none(run: Runner) -> None:
    async def check() -> None:
        world = World()
        world.levels.is_broken = True
        assert await world.need() is Need.VERIFIED
        await world.policies.learned(await world.domain(), WEBPKI)  # no exception

    run(check())


def test_mta_sts(run: Runner) -> None:
    async def check() -> None:
        world = World()
        for mode, mx, expected in (
            (Mode.ENFORCE, HOST, Need.VERIFIED),
            (Mode.TESTING, HOST, Need.NONE),
            (Mode.TESTING, "other.test", Need.NONE),
            (Mode.NONE, "other.test", Need.NONE),
        ):
            world.sts.found = policy(mode, mx)
            assert await world.need() is expected
        world.sts.found = policy(Mode.ENFORCE, "other.test")
        refused = await world.demand()
        assert isinstance(refused, HostRefused)
        assert refused.tls_result == "validation-failure"
        world.policies.settings = PolicySettings(uses_mta_sts=False)
        assert await world.need() is Need.NONE

    run(check())


def test_dane(run: Runner) -> None:
    async def check() -> None:
        world = World()
        world.dns.records[TLSA] = (UNUSABLE, RIGHT)
        demand = await world.demand()
        assert isinstance(demand, HostTls)
        assert (demand.need, demand.tlsa, demand.names) == (Need.DANE, (RIGHT,), ("b.test",))
        world.sts.found = policy(Mode.ENFORCE, HOST)
        assert await world.need() is Need.DANE
        world.sts.found = policy(Mode.ENFORCE, "other.test")
        assert isinstance(await world.demand(), HostRefused), "neither lowers the other"
        world.sts.found = FoundPolicy()
        world.dns.records[TLSA] = (UNUSABLE,)
        assert await world.need() is Need.ENCRYPTED

    run(check())


def test_dane_needs_dnssec_all_the_way(run: Runner) -> None:
    async def check() -> None:
        world = World()
        world.dns.records[TLSA] = (RIGHT,)
        assert await world.need(is_mx_secure=False) is Need.NONE
        assert await world.need(is_address_secure=False) is Need.NONE
        assert not world.dns.asked
        world.dns.is_secure = False
        assert await world.need() is Need.NONE
        world.dns.is_secure, world.dns.is_dnssec = True, False
        assert await world.need() is Need.NONE
        world.dns.is_dnssec = True
        assert await world.need() is Need.DANE
        world.policies.settings = PolicySettings(uses_dane=False)
        assert await world.need() is Need.NONE

    run(check())


def test_records_of_an_alias_stand_at_its_end_or_where_it_begins(run: Runner) -> None:
    end = ("tlsa", "_25._tcp.end.test")

    async def demanded(world: World, *, is_secure: bool) -> HostTls | HostRefused:
        domain = await world.domain()
        return await domain.for_host(HOST, is_address_secure=is_secure, alias_of="end.test")

    async def check() -> None:
        world = World()
        world.dns.records[end] = (RIGHT,)
        demand = await demanded(world, is_secure=True)
        assert isinstance(demand, HostTls)
        assert (demand.need, demand.server_name) == (Need.DANE, "end.test")
        assert demand.names == ("b.test", "end.test")
        assert await demanded(world, is_secure=False) == HostTls()  # HOST is no secure alias
        world.dns.records["cname", HOST] = ("end.test",)
        assert await demanded(world, is_secure=False) == HostTls()  # what stands there is not heard
        world.dns.records[TLSA] = (RIGHT,)
        for is_secure in (False, True):
            world.dns.records.pop(end, None)
            demand = await demanded(world, is_secure=is_secure)
            assert isinstance(demand, HostTls)
            assert (demand.need, demand.server_name) == (Need.DANE, HOST)
        world.dns.broken.add(HOST)  # whether it is an alias cannot be known
        assert isinstance(await demanded(world, is_secure=False), HostRefused)

    run(check())


def test_tlsa_records_that_cannot_be_looked_up_are_not_taken_for_none(run: Runner) -> None:
    async def check() -> None:
        world = World()
        world.dns.broken.add(TLSA[1])
        refused = await world.demand()
        assert isinstance(refused, HostRefused)
        assert refused.tls_result == "dnssec-invalid"

    run(check())


def test_requiretls(run: Runner) -> None:
    async def check() -> None:
        world = World()
        demand = await world.demand(requires=True)
        assert isinstance(demand, HostTls)
        assert demand.need is Need.VERIFIED
        assert isinstance(await world.demand(is_mx_secure=False, requires=True), HostRefused)
        world.sts.found = policy(Mode.TESTING, HOST)
        assert isinstance(await world.demand(is_mx_secure=False, requires=True), HostTls)
        world.policies.settings = PolicySettings(relaxed=frozenset({"b.test"}))
        assert isinstance(await world.demand(is_mx_secure=False, requires=True), HostRefused)

    run(check())


@pytest.mark.parametrize(
    ("settings", "need"),
    [
        (PolicySettings(verified=frozenset({"b.test"})), Need.VERIFIED),
        (PolicySettings(relaxed=frozenset({"b.test"})), Need.NONE),
        (PolicySettings(relaxed=frozenset({"c.test"})), Need.VERIFIED),
    ],
)
def test_the_configuration(run: Runner, settings: PolicySettings, need: Need) -> None:
    world = World(settings)
    world.levels.known["b.test"] = SecurityLevel.TLS_SECURE
    assert run(world.need()) is need


def test_relaxed_domains_teach_nothing(run: Runner) -> None:
    async def check() -> None:
        world = World(PolicySettings(relaxed=frozenset({"b.test"})))
        await world.policies.learned(await world.domain(), WEBPKI)
        assert world.levels.known == {}

    run(check())
