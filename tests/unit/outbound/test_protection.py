"""TLS with other servers as a worker has it, from the configuration."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from relevo.config import Config
from relevo.config.outbound_model import Outbound
from relevo.config.outbound_tls_model import OutboundTls
from relevo.delivery.link_values import TlsFacts
from relevo.outbound import Protection, ProtectionSurroundings, daily_reports, protection
from relevo.outbound.daily_reports import DAY_S, Reporter
from relevo.outbound.host_tls import HostTls, Need
from relevo.outbound.tls_reports import ReportFiles
from relevo.queue import SecurityLevel
from relevo.queue.ids import new_id
from unit.delivery.fake_store import FakeStore
from unit.delivery.loops import Runner
from unit.outbound.fake_dns import FakeDns

SECURE = TlsFacts("TLS-1.3", "c", "webpki")


class NoLevels:
    async def level(self, _domain: str) -> SecurityLevel:
        return SecurityLevel.PLAIN

    async def learned(self, _domain: str, _level: SecurityLevel) -> None:
        pass


def configuration(folder: Path, tls: OutboundTls | None = None) -> Config:
    return Config(
        hostname="mx.a.test",
        data_dir=folder,
        outbound=Outbound(allow_addresses=("127.0.0.0/8",)),
        outbound_tls=tls or OutboundTls(),
    )


def made(config: Config, dns: FakeDns | None = None, *, is_reporter: bool = True) -> Protection:
    names = dns or FakeDns()
    around = ProtectionSurroundings(
        lookups=lambda: names,
        levels=NoLevels(),
        store=FakeStore(),
        new_id=new_id,
        name="0",
        is_reporter=is_reporter,
        keys_of=lambda _: (),
    )
    return Protection(config, around)


async def need(of: Protection) -> Need:
    domain = await of.policies.for_domain("b.test")
    demand = await domain.for_host("mx.b.test")
    assert isinstance(demand, HostTls)
    return demand.need


def test_a_reload_is_followed(run: Runner, tmp_path: Path) -> None:
    async def check() -> None:
        config = configuration(tmp_path)
        held = made(config)
        assert await need(held) is Need.NONE
        held.use(replace(config, outbound_tls=OutboundTls(verify=("b.test",))))
        assert await need(held) is Need.VERIFIED
        held.use(replace(config, outbound_tls=OutboundTls(verify=("b.test",), relax=("b.test",))))
        assert await need(held) is Need.NONE
        await held.aclose()

    run(check())


def test_a_reload_reads_the_authorities_anew(run: Runner, ca_file: str, tmp_path: Path) -> None:
    async def check() -> None:
        held = made(configuration(tmp_path))
        before = held.contexts.verifying
        held.use(configuration(tmp_path))
        assert held.contexts.verifying is before, "the system's"
        held.use(configuration(tmp_path, OutboundTls(ca_file=ca_file)))
        assert len(held.contexts.verifying.get_ca_certs()) == 1
        await held.aclose()

    run(check())


def test_what_was_counted_is_kept_at_the_end(run: Runner, tmp_path: Path) -> None:
    async def check(*, reports: bool) -> list[int]:
        held = made(configuration(tmp_path, OutboundTls(reports=reports)))
        domain = await held.policies.for_domain("b.test")
        held.policies.report(domain, "mx.b.test", "192.0.2.1", SECURE)
        await held.aclose()
        return ReportFiles(tmp_path).days()

    assert run(check(reports=False)) == []
    assert len(run(check(reports=True))) == 1


def test_reports_are_sent_by_one_worker_once_the_day_is_over(
    run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protection, "WRITE_S", 0.01)
    monkeypatch.setattr(protection, "REPORT_S", 0.0)
    monkeypatch.setattr(daily_reports, "MAX_DELAY_S", 0.0)
    sent: list[Reporter] = []
    again = asyncio.Event()

    async def send(_means: object, reporter: Reporter, _now: float) -> int:
        sent.append(reporter)
        again.set()
        return 1

    monkeypatch.setattr(protection, "send_reports", send)

    async def check() -> None:
        other = asyncio.create_task(made(configuration(tmp_path), is_reporter=False).run())
        task = asyncio.create_task(made(configuration(tmp_path)).run())
        await again.wait()
        count = len(sent)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0.05)
        assert len(sent) == count, "the other worker sends none"
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)

    run(check())
    assert sent[0] == Reporter("mx.a.test", "mx.a.test", "postmaster@mx.a.test")
    assert DAY_S == 86_400
