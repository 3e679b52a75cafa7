"""Finding MTA-STS policies: fetched, kept over restarts, refreshed, and never taken away by DNS."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest

from harness.authority import Authority
from relevo.outbound import mta_sts_files
from relevo.outbound.mta_sts import Mode, StsPolicy
from relevo.outbound.mta_sts_files import KeptPolicy, PolicyFiles
from relevo.outbound.mta_sts_lookup import FetchSettings, StsPolicies
from relevo.outbound.tls_contexts import TlsContexts
from unit.delivery.loops import Runner
from unit.outbound.fake_dns import FakeDns
from unit.outbound.web_server import WebServer, http, serving

LOOPBACK = ip_address("127.0.0.1")
RECORD = ("txt", "_mta-sts.b.test")
HOST = "mta-sts.b.test"


def text(mode: str = "enforce", mx: str = "mx.b.test", max_age: int = 1000) -> bytes:
    return f"version: STSv1\nmode: {mode}\nmx: {mx}\nmax_age: {max_age}\n".encode()


class Site:
    """A domain with a policy host, and a client whose clock stands still."""

    def __init__(self, authority: Authority, folder: Path) -> None:
        self.dns = FakeDns({RECORD: (b"v=STSv1; id=1;",), ("a", HOST): (LOOPBACK,)})
        context = authority.issue(HOST).server_context(folder / "web")
        self.web = WebServer(context, http(text()))
        self.client = TlsContexts(str(authority.write(folder / "ca.pem")))
        self.folder = folder
        self.now = 1_800_000_000.0

    def worker(self, *, allows: bool = True) -> StsPolicies:
        settings = FetchSettings(
            lambda: self.client.verifying, lambda _address: allows, self.web.port
        )
        return StsPolicies(lambda: self.dns, self.folder, settings, clock=lambda: self.now)

    async def policy(self, worker: StsPolicies) -> StsPolicy | None:
        found = await worker.find("B.test")
        return found.kept.policy if found.kept is not None else None

    async def failure(self, worker: StsPolicies) -> str:
        found = await worker.find("b.test")
        return found.failure.tls_result if found.failure is not None else ""

    @property
    def fetches(self) -> int:
        return len(self.web.requests)


@pytest.fixture
def site(authority: Authority, tmp_path: Path) -> Site:
    return Site(authority, tmp_path)


def test_a_policy_is_fetched_once(run: Runner, site: Site) -> None:
    async def check() -> None:
        async with serving(site.web):
            worker = site.worker()
            both = await asyncio.gather(site.policy(worker), site.policy(worker))
            assert both[0] is not None
            assert (both[0], both[0].mode) == (both[1], Mode.ENFORCE)
            assert site.web.requests[0].startswith(b"GET /.well-known/mta-sts.txt HTTP/1.1\r\n")
            await site.policy(worker)
            assert site.fetches == 1
            await worker.aclose()

    run(check())


def test_another_worker_and_the_next_start_find_it_kept(run: Runner, site: Site) -> None:
    async def check() -> None:
        async with serving(site.web):
            first = await site.policy(site.worker())
        assert first is not None
        assert await site.policy(site.worker()) == first
        assert site.fetches == 1

    run(check())


def test_a_kept_policy_holds_whatever_dns_says(run: Runner, site: Site) -> None:
    async def check() -> None:
        async with serving(site.web):
            worker = site.worker()
            assert await site.policy(worker)
            record = site.dns.records.pop(RECORD)
            assert await site.policy(worker), "the record is gone"
            site.dns.broken.add(RECORD[1])
            assert await site.policy(worker), "and cannot be looked up"
            site.dns.broken.clear()
            site.dns.records[RECORD] = (b"v=STSv1; id=2;",)
            site.web.answer = http(b"nonsense")
            found = await worker.find("b.test")
            assert found.kept, "what is new cannot be used"
            assert found.failure
            site.now += 1001
            site.dns.records[RECORD] = record
            assert await site.policy(worker) is None, "it is over"
            assert await site.policy(site.worker()) is None

    run(check())


def test_another_id_brings_another_policy(run: Runner, site: Site) -> None:
    async def check() -> None:
        async with serving(site.web):
            worker = site.worker()
            await site.policy(worker)
            site.web.answer = http(text("testing"))
            site.dns.records[RECORD] = (b"v=STSv1; id=2;",)
            policy = await site.policy(worker)
            assert policy is not None
            assert policy.mode is Mode.TESTING
            again = await site.policy(site.worker())
            assert again == policy, "the file too"
            assert site.fetches == 2

    run(check())


def test_a_policy_host_that_hangs_does_not_take_the_kept_policy_away(
    run: Runner, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who can change the record in DNS and hold up the connection must not get clear text."""
    monkeypatch.setattr("relevo.outbound.mta_sts_lookup.WAIT_S", 0.1)

    async def check() -> None:
        site.web.gate = asyncio.Event()
        site.web.gate.set()
        async with serving(site.web):
            worker = site.worker()
            await site.policy(worker)
            site.web.gate.clear()
            site.dns.records[RECORD] = (b"v=STSv1; id=2;",)
            assert await site.policy(worker), "the kept one"
            assert worker._fetches, "and the fetch goes on"
            site.web.gate.set()
            await worker.aclose()

    run(check())


def test_it_is_refreshed_before_it_ends_and_nobody_waits(run: Runner, site: Site) -> None:
    async def check() -> None:
        site.web.gate = asyncio.Event()
        site.web.gate.set()
        async with serving(site.web):
            worker = site.worker()
            await site.policy(worker)
            site.now += 400
            await site.policy(worker)
            assert site.fetches == 1
            site.now += 200  # more than half of its life
            site.web.gate.clear()
            assert await site.policy(worker)
            site.web.gate.set()
            (fetch,) = worker._fetches.values()
            await fetch
            site.now += 900
            assert await site.policy(worker), "the new one lives on"
            assert site.fetches >= 2
            await worker.aclose()

    run(check())


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (http(text(), status="404 Not Found"), "sts-policy-fetch-error"),
        (http(b"", "Location: https://b.test/", status="301 Moved"), "sts-policy-fetch-error"),
        (b"what?\r\n\r\n", "sts-policy-fetch-error"),
        (http(b"nonsense"), "sts-policy-invalid"),
        (http(text()).replace(b"text/plain", b"text/html"), "sts-policy-invalid"),
    ],
)
def test_what_cannot_be_had_is_tried_again_later(
    run: Runner, site: Site, answer: bytes, result: str
) -> None:
    site.web.answer = answer

    async def check() -> None:
        async with serving(site.web):
            worker = site.worker()
            assert await site.failure(worker) == result
            assert await site.policy(worker) is None
            assert site.fetches == 1, "not for each message"
            site.web.answer = http(text())
            site.now += 301
            assert await site.policy(worker)
            assert await site.failure(worker) == ""

    run(check())


def test_a_policy_host_that_cannot_prove_who_it_is(run: Runner, site: Site, tmp_path: Path) -> None:
    site.web.context = Authority("Somebody").issue(HOST).server_context(tmp_path / "forged")

    async def check() -> None:
        async with serving(site.web):
            worker = site.worker()
            assert await site.failure(worker) == "sts-webpki-invalid"
            assert await site.policy(worker) is None

    run(check())


def test_private_addresses_are_not_connected_to(run: Runner, site: Site) -> None:
    async def check() -> None:
        async with serving(site.web):
            assert await site.failure(site.worker(allows=False)) == "sts-policy-fetch-error"
        assert site.fetches == 0

    run(check())


def test_domains_without_a_policy_cost_one_look_up(run: Runner, site: Site) -> None:
    site.dns.records.clear()

    async def check() -> None:
        worker = site.worker()
        found = await worker.find("b.test")
        assert (found.kept, found.failure) == (None, None)
        assert site.dns.asked == ["txt _mta-sts.b.test"]
        assert await worker.find("b..test") == found

    run(check())


def kept(expires: float) -> KeptPolicy:
    policy = StsPolicy(
        Mode.ENFORCE, 100, ("mx.b.test",), tuple(text(max_age=100).decode().split("\n")[:-1])
    )
    return KeptPolicy(policy, "1", expires - 100)


def test_names_that_are_no_file_names_are_not_kept(tmp_path: Path) -> None:
    files = PolicyFiles(tmp_path)
    for name in ("../b.test", "a/b", "x" * 241, ".hidden", "a\0b"):
        files.save(name, kept(1e9))
        assert files.load(name) is None
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_file_that_cannot_be_read_counts_as_none(tmp_path: Path) -> None:
    files = PolicyFiles(tmp_path)
    files.save("b.test", kept(1e9))
    assert files.load("b.test") == kept(1e9)
    path = tmp_path / "mta-sts" / "b.test.json"
    damage: list[Callable[[bytes], bytes]] = [
        lambda octets: octets[:-5],
        lambda octets: octets.replace(b"STSv1", b"STSv9"),
        lambda _: b"[]",
        lambda _: b"",
    ]
    whole = path.read_bytes()
    for change in damage:
        path.write_bytes(change(whole))
        assert files.load("b.test") is None


def test_the_folder_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mta_sts_files, "MAX_FILES", 2)
    files = PolicyFiles(tmp_path)
    files.prune(0)
    for number in range(5):
        files.save(f"d{number}.test", kept(1000 + number))
    files.prune(1001)  # two are over, one is too many
    names = sorted(path.name for path in (tmp_path / "mta-sts").iterdir())
    assert names == ["d3.test.json", "d4.test.json"]
