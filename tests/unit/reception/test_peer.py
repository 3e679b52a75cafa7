"""The client of a connection and its place in the count, by whatever way it became known."""

from __future__ import annotations

import pytest

from relevo.reception import ConnectionLimits, ConnectionTable, Gate
from relevo.reception.admission import Admission, source_key
from relevo.reception.conduct import Conduct, Penalties
from relevo.reception.peer import NoClientNamed, Peer

PROXY = "192.0.2.7"
CLIENT = "198.51.100.9"
HEADER = f"PROXY TCP4 {CLIENT} 192.0.2.1 1111 25\r\n".encode()


@pytest.fixture
def table() -> ConnectionTable:
    return ConnectionTable(1)


@pytest.fixture
def gate(table: ConnectionTable) -> Gate:
    return Gate(table, 0, ConnectionLimits(3, 1))


@pytest.fixture
def peer(gate: Gate) -> Peer:
    made = Peer(gate, Conduct(Penalties(), is_for_users=False))
    made.move_to(PROXY, 4711)
    return made


def counts(table: ConnectionTable) -> tuple[int, int, int]:
    """All connections, those of the proxy, those of the client."""
    return table.total(), table.count(source_key(PROXY)), table.count(source_key(CLIENT))


def test_a_proxy_is_not_counted_as_a_source(table: ConnectionTable, peer: Peer) -> None:
    assert peer.await_header() is Admission.ADMITTED
    assert counts(table) == (1, 0, 0)
    assert peer.read_header(HEADER[:20]) is None
    assert peer.read_header(HEADER[20:] + b"EHLO") == b"EHLO"
    assert peer.name == f"{CLIENT}:1111"
    assert peer.enter() is Admission.ADMITTED
    assert counts(table) == (1, 0, 1)
    peer.leave()
    peer.leave()
    assert counts(table) == (0, 0, 0)


def test_a_bad_header_gives_the_place_back(table: ConnectionTable, peer: Peer) -> None:
    peer.await_header()
    with pytest.raises(NoClientNamed, match="does not start with a PROXY header"):
        peer.read_header(b"EHLO")
    assert counts(table) == (0, 0, 0)


def test_xclient_moves_the_count_to_the_client(
    table: ConnectionTable, gate: Gate, peer: Peer
) -> None:
    peer.enter()
    assert peer.become(CLIENT, None) is Admission.ADMITTED
    assert counts(table) == (1, 0, 1)
    assert peer.become(None, 5) is Admission.ADMITTED
    assert peer.name == f"{CLIENT}:5"
    second = Peer(gate, Conduct(Penalties(), is_for_users=False))
    second.move_to(PROXY, 1)
    second.enter()
    assert second.become(CLIENT, 6) is Admission.TOO_MANY_FROM_SOURCE
    second.leave()
    assert counts(table) == (1, 0, 1)


def test_ipv6_stands_in_brackets(peer: Peer) -> None:
    peer.move_to("2001:db8::7", 25)
    assert peer.name == "[2001:db8::7]:25"
