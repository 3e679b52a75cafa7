"""TLS with other servers: found by a real name server, vouched for by a real validating resolver.

The servers are on loopback: `right.test` and so on say what is right or wrong about each. The
domains of `plain.` are in a zone without signatures.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.authority import Authority, Certificate
from harness.config_dir import Setting
from harness.loop_thread import in_thread
from harness.mail_sink import free_port
from harness.processes import Reaper
from harness.server import RelevoFactory, RelevoServer, run_relevo
from harness.signed_zones import start_signed_dns
from harness.users_mail import submit, wait_for_line
from relevo.dns import DnsFailed, Resolver, parse_server
from relevo.dns import Outcome as Found
from relevo.journal import Attempted, Outcome
from relevo.queue import open_reader
from unit.outbound.peer_server import PeerServer, listening

pytestmark = pytest.mark.needs_debian("nsd", "unbound")

HOSTS = {name: f"127.0.0.{number}" for number, name in enumerate(
    ("right", "wrong", "authority", "unusable", "broken", "unsigned", "valid", "unknown"), 41
)}  # fmt: skip


@contextmanager
def peers(
    folder: Path, certificates: Mapping[str, Certificate], port: int
) -> Iterator[Mapping[str, PeerServer]]:
    """A server for each host, by its name."""
    servers = {
        name: PeerServer(certificate.server_context(folder / name))
        for name, certificate in certificates.items()
    }
    with in_thread([listening(server, HOSTS[name], port) for name, server in servers.items()]):
        yield servers


class World:
    """Names, certificates and addresses of all hosts."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port("127.0.0.1", *HOSTS.values())
        self.trusted = Authority("Trusted")
        self.untrusted = Authority("Untrusted")
        self.middle = Authority("Middle", above=self.untrusted)
        self.certificates = {name: self._certificate(name) for name in HOSTS}
        self.ca_file = self.trusted.write(folder / "ca.pem")
        names = {name: f"mx.{name}.{'plain' if name == 'unsigned' else 'test'}." for name in HOSTS}
        records = {
            name: [
                f"{name} MX 10 mx.{name}",
                f"mx.{name} A {HOSTS[name]}",
                *self._tlsa(name, names[name]),
            ]
            for name in HOSTS
        }
        unsigned = records.pop("unsigned")
        self.signed = {"test.": [line for lines in records.values() for line in lines]}
        self.signed["test."] += self._aliases()
        self.unsigned = {"plain.": unsigned}

    def _certificate(self, name: str) -> Certificate:
        if name == "authority":
            return self.middle.issue(f"mx.{name}.test")
        authority = self.trusted if name == "valid" else self.untrusted
        return authority.issue(f"mx.{name}.test")

    def _aliases(self) -> list[str]:
        """Domains whose exchangers are aliases of others here: `at-end` of one that has records
        itself, `at-begin` with wrong records of its own, `abroad` the same, into what is unsigned.
        """
        ends = {"at-end": "mx.right", "at-begin": "mx.valid", "abroad": "mx.unsigned.plain."}
        lines = [f"{name} MX 10 mx.{name}" for name in ends]
        lines += [f"mx.{name} CNAME {end}" for name, end in ends.items()]
        owners = (f"_{self.port}._tcp.mx.{name}" for name in ("at-end", "at-begin", "abroad"))
        return lines + [f"{owner} TLSA 3 1 1 {'00' * 32}" for owner in owners]

    def _tlsa(self, name: str, host: str) -> list[str]:
        owner = f"_{self.port}._tcp.{host}"
        key = hashlib.sha256(self.certificates[name].key_der).hexdigest()
        match name:
            case "right" | "broken":
                return [f"{owner} TLSA 3 1 1 {key}", f"{owner} TLSA 3 1 1 {'00' * 32}"]
            case "wrong" | "unsigned":
                return [f"{owner} TLSA 3 1 1 {'00' * 32}"]
            case "authority":
                digest = hashlib.sha512(self.middle.as_certificate.der).hexdigest()
                return [f"{owner} TLSA 2 0 2 {digest}"]
            case "unusable":
                return [f"{owner} TLSA 1 1 1 {key}"]
            case _:
                return []


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def resolver_at(reaper: Reaper, tmp_path: Path, world: World) -> str:
    """The validating resolver, as `dns.servers` has it."""
    bogus = {f"_{world.port}._tcp.mx.broken.test."}
    return str(start_signed_dns(reaper, tmp_path, world.signed, world.unsigned, bogus=bogus))


def sender(
    start_relevo: RelevoFactory, world: World, resolver: str, **more: Setting
) -> RelevoServer:
    return start_relevo(
        settings={
            "dns.servers": [resolver],
            "dns.signed_name": "test.",
            "dns.timeout": "30s",  # on a busy machine: who gets no answer is deferred for a minute
            "outbound.port": world.port,
            "outbound.allow_addresses": ["127.0.0.0/8"],
            "outbound_tls.ca_file": str(world.ca_file),
            "spf.check": False,
            "server.workers": 1,
            **more,
        }
    )


def test_what_dnssec_says(resolver_at: str, world: World) -> None:
    async def check() -> None:
        resolver = Resolver([parse_server(resolver_at)], signed_name="test.")
        assert await resolver.is_dnssec_seen()
        right = await resolver.tlsa(f"_{world.port}._tcp.mx.right.test")
        assert (right.is_authenticated, len(right.records)) == (True, 2)
        absent = await resolver.tlsa(f"_{world.port}._tcp.mx.valid.test")
        assert (absent.is_authenticated, absent.outcome is Found.FOUND) == (True, False)
        unsigned = await resolver.tlsa(f"_{world.port}._tcp.mx.unsigned.plain")
        assert (unsigned.is_authenticated, len(unsigned.records)) == (False, 1)
        with pytest.raises(DnsFailed):
            await resolver.tlsa(f"_{world.port}._tcp.mx.broken.test")
        unseen = Resolver([parse_server(resolver_at)], signed_name="plain.")
        assert not await unseen.is_dnssec_seen()

    asyncio.run(check())


def test_dane_right_wrong_and_unsigned(
    reaper: Reaper, start_relevo: RelevoFactory, resolver_at: str, world: World, tmp_path: Path
) -> None:
    with peers(tmp_path / "peers", world.certificates, world.port) as running:
        server = sender(start_relevo, world, resolver_at)
        domains = {name: f"{name}.{'plain' if name == 'unsigned' else 'test'}" for name in HOSTS}
        submit(server, *(f"user@{domain}" for domain in domains.values()))
        taken = {"right", "authority", "unusable", "unsigned", "valid", "unknown"}
        for name in taken:
            wait_for_line(server, domains[name], "sent")
        for name, why in (("wrong", "TLSA"), ("broken", "TLSA")):
            wait_for_line(server, domains[name], why)
        assert {name for name, peer in running.items() if peer.bodies} == taken
        for name in HOSTS:
            assert not any(line.startswith(b"MAIL") for line in running[name].commands)
        listing = ("tls-level", "list", "--json", "-C", server.config.path)
        levels = json.loads(run_relevo(reaper, *listing, folder=tmp_path).output())
        known = {each["domain"]: each["outgoing"] for each in levels}
        assert known[domains["valid"]] == "verified"
        assert known[domains["unknown"]] == known[domains["right"]] == "tls"
        assert domains["wrong"] not in known


@pytest.mark.parametrize("validator", ["resolver", "validate"])
def test_dane_of_hosts_that_are_aliases(
    start_relevo: RelevoFactory, resolver_at: str, world: World, tmp_path: Path, validator: str
) -> None:
    certificates = {name: world.certificates[name] for name in ("right", "valid", "unsigned")}
    anchor = {"dns.dnssec": validator, "dns.trust_anchor": str(tmp_path / "unbound" / "keys")}
    with peers(tmp_path / "peers", certificates, world.port) as running:
        server = sender(start_relevo, world, resolver_at, **anchor)
        submit(server, "user@at-end.test", "user@at-begin.test", "user@abroad.test")
        wait_for_line(server, "at-end.test", "sent")
        wait_for_line(server, "at-begin.test", "TLSA records")
        wait_for_line(server, "abroad.test", "TLSA records")
        assert {name for name, peer in running.items() if peer.bodies} == {"right"}
        with open_reader(server.config.data) as reader:
            attempts = [each for each in reader.latest_events(50) if isinstance(each, Attempted)]
        (sent,) = (each for each in attempts if each.outcome is Outcome.DELIVERED)
        assert sent.tls.endswith(" dane")


def test_a_downgrade_is_refused_until_the_level_is_cleared(
    reaper: Reaper, start_relevo: RelevoFactory, resolver_at: str, world: World, tmp_path: Path
) -> None:
    certificates = {name: world.certificates[name] for name in ("valid", "unknown")}
    with peers(tmp_path / "peers", certificates, world.port) as running:
        server = sender(start_relevo, world, resolver_at)
        submit(server, *(f"first@{name}.test" for name in certificates))
        for name in certificates:
            wait_for_line(server, f"first@{name}.test", "sent")
        server.stop(30)
        for peer in running.values():
            peer.context = None  # no STARTTLS any more
        server.start()
        submit(server, *(f"second@{name}.test" for name in certificates))
        for name in certificates:
            wait_for_line(server, f"second@{name}.test", "earlier connections had")
            assert len(running[name].bodies) == 1
        submit(server, "unloved@valid.test", field=b"TLS-Required: No\r\n")
        wait_for_line(server, "unloved@valid.test", "sent")
        server.stop(30)
        command = ("tls-level", "clear", "valid.test", "unknown.test", "-C", server.config.path)
        assert run_relevo(reaper, *command, folder=tmp_path).wait() == 0
        server.start()
        submit(server, *(f"third@{name}.test" for name in certificates))
        for name in certificates:
            wait_for_line(server, f"third@{name}.test", "sent")


def test_requiretls_goes_on_verified_tls_or_not_at_all(
    start_relevo: RelevoFactory, resolver_at: str, world: World, tmp_path: Path
) -> None:
    names = ("valid", "right", "unknown", "unsigned", "authority")
    certificates = {name: world.certificates[name] for name in names}
    with peers(tmp_path / "peers", certificates, world.port) as running:
        for name in set(names) - {"authority"}:
            running[name].tls_extensions += (b"REQUIRETLS",)
        server = sender(start_relevo, world, resolver_at)
        submit(server, "user@valid.test")  # leaves a connection
        wait_for_line(server, "user@valid.test", "sent")
        domains = [f"{name}.{'plain' if name == 'unsigned' else 'test'}" for name in names]
        submit(server, *(f"required@{each}" for each in domains), parameters=" REQUIRETLS")
        for name in ("valid", "right"):
            wait_for_line(server, f"required@{name}.test", "sent")
            mail = [line for line in running[name].tls_commands if b"MAIL" in line]
            assert b"REQUIRETLS" in mail[-1]
        wait_for_line(server, "required@unknown.test", "REQUIRETLS")
        wait_for_line(server, "required@unsigned.plain", "neither DNSSEC nor MTA-STS")
        wait_for_line(server, "required@authority.test", "does not offer")
        for name in ("unknown", "unsigned", "authority"):
            assert running[name].bodies == []
