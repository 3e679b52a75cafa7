"""Every false end of a message, by every way in which a message comes, smuggles nothing.

The ways: DATA alone, DATA with everything pipelined in one write (in front of 354), and BDAT whose
chunk holds the false end, in one chunk or cut inside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from harness.dialog import ConnectionEnded, Dialog
from harness.message_ends import CONTENT_NOT_ENDS, FALSE_ENDS
from harness.processes import reaping
from harness.server import RelevoFactory, RelevoServer

HEAD = b"Subject: outer\r\n\r\nbody"
SMUGGLED = (
    b"MAIL FROM:<smuggled@r.test>\r\nRCPT TO:<juan@d1.test>\r\n"
    b"DATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n"
)
ENVELOPE = b"MAIL FROM:<a@r.test>\r\nRCPT TO:<user@d1.test>\r\n"


def one_write(end: bytes) -> bytes:
    return ENVELOPE + b"DATA\r\n" + HEAD + end + SMUGGLED


def one_chunk(end: bytes) -> bytes:
    content = HEAD + end + SMUGGLED
    return ENVELOPE + b"BDAT %d LAST\r\n" % len(content) + content


def two_chunks(end: bytes) -> bytes:
    first, last = HEAD + end[:2], end[2:] + SMUGGLED
    return ENVELOPE + b"BDAT %d\r\n" % len(first) + first + b"BDAT %d LAST\r\n" % len(last) + last


def short_chunk(end: bytes) -> bytes:
    """Nothing stands behind the false end, so that it alone is judged."""
    content = HEAD + end
    return ENVELOPE + b"BDAT %d LAST\r\n" % len(content) + content


WAYS = (one_write, one_chunk, two_chunks, short_chunk)


@pytest.fixture(scope="module")
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RelevoServer]:
    with reaping(request) as reaper:
        yield RelevoFactory(reaper, tmp_path_factory.mktemp("smuggling"))()


def codes(client: Dialog, stream: bytes) -> list[int]:
    """Reply codes to a stream written at once, until the server has no more or closes."""
    client.expect(250, "EHLO client.test")
    found: list[int] = []
    with suppress(BrokenPipeError, ConnectionResetError):
        client.send(stream + b"QUIT\r\n")
    with suppress(ConnectionEnded):
        while True:
            found.append(client.reply().code)
    return found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("end", FALSE_ENDS, ids=repr)
def test_a_bare_line_end_is_refused_however_it_comes(
    server: RelevoServer, end: bytes, way: Callable[[bytes], bytes]
) -> None:
    with server.dialog() as client:
        found = codes(client, way(end))
    replies = [code for code in found[2:] if code not in {250, 354}]
    assert found[:2] == [250, 250]
    assert replies, found
    assert replies[0] >= 500, found
    messages_accepted = 1 if 354 in found else 0
    assert found.count(354) == messages_accepted, "no second DATA was run"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("end", CONTENT_NOT_ENDS, ids=repr)
def test_what_only_looks_like_an_end_is_content_however_it_comes(
    server: RelevoServer, end: bytes, way: Callable[[bytes], bytes]
) -> None:
    with server.dialog() as client:
        found = codes(client, way(end))
    assert found[:2] == [250, 250]
    assert found.count(354) == (1 if way is one_write else 0), found
    assert all(code in {250, 354, 221} for code in found), found


def test_afterwards_nothing_was_smuggled(server: RelevoServer) -> None:
    with server.dialog() as client:
        client.envelope("settle@r.test", "user@d1.test")
        assert client.message(b"Subject: settled\r\n\r\nx\r\n").code == 250
    box = server.config.mailbox("user@d1.test")
    taken = len(CONTENT_NOT_ENDS) * len(WAYS) + 1
    box.wait(taken)
    folder: Path = server.config.path
    assert server.config.mailbox("juan@d1.test").files() == []
    assert len(box.files()) == taken
    assert "smuggled@r.test" not in server.mail_log()
    assert folder.exists()
