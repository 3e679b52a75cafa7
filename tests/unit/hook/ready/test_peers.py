"""Asking a server: whole answers, and none that is late, long or not there."""

from __future__ import annotations

import pytest

from relevo.hook.ready.http_post import Answer, post, read_answer
from relevo.hook.ready.peers import PeerFailed, ask
from unit.hook.ready.conftest import Serve, http


async def test_an_answer_is_all_until_the_end(serve: Serve) -> None:
    server = serve(b"yes", until=b"?")
    assert await ask(server.target, b"well?", timeout_s=5) == b"yes"


@pytest.mark.parametrize(
    ("answer", "closes", "words"),
    [
        pytest.param(b"x" * 2000, True, "more than 1000 octets", id="long"),
        pytest.param(b"half", False, "not answered within 0.2 s", id="slow"),
    ],
)
async def test_what_is_no_answer(serve: Serve, answer: bytes, closes: bool, words: str) -> None:
    server = serve(answer, until=b"?", closes=closes)
    with pytest.raises(PeerFailed, match=words):
        await ask(server.target, b"?", timeout_s=0.2 if not closes else 5, limit=1000)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("127.0.0.1:1", "127.0.0.1:1: "),
        ("unix:/no/such", "unix:/no/such: No such file"),
        ("nonsense", "write unix:/PATH or HOST:PORT"),
    ],
)
async def test_nobody_there(target: str, words: str) -> None:
    with pytest.raises(PeerFailed, match=words):
        await ask(target, b"?", timeout_s=5)


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        pytest.param(http(b"{}"), Answer(200, b"{}"), id="length"),
        pytest.param(b"HTTP/1.0 404 No\r\n\r\nbody", Answer(404, b"body"), id="until-closed"),
        pytest.param(
            b"HTTP/1.1 100 Continue\r\n\r\n" + http(b"x"), Answer(200, b"x"), id="interim"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n"
            b"2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n",
            Answer(200, b"abc"),
            id="chunks",
        ),
    ],
)
def test_responses(octets: bytes, expected: Answer) -> None:
    assert read_answer(octets) == expected


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"hello\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\nab\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n",
    ],
)
def test_half_and_false_responses(octets: bytes) -> None:
    with pytest.raises(ValueError):
        read_answer(octets)


async def test_what_a_client_said_adds_no_field(serve: Serve) -> None:
    server = serve(http(b""), until=b"\r\n\r\n")
    await post(f"http://{server.target}/a?b", b"", {"Helo": "x\r\nPass: all"}, timeout_s=5)
    assert b"POST /a?b HTTP/1.1\r\n" in server.asked[0]
    assert b"\r\nHelo: xPass: all\r\n" in server.asked[0]
