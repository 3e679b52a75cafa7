"""One HTTPS request to a server that may be anything."""

from __future__ import annotations

import ssl
from ipaddress import ip_address
from pathlib import Path

import pytest

from harness.authority import Authority
from relevo.outbound import https_request
from relevo.outbound.https_request import Request, RequestFailed, Response, send_request
from relevo.outbound.tls_contexts import TlsContexts
from unit.delivery.loops import Runner
from unit.outbound.web_server import WebServer, http, serving

HOST = "mta-sts.b.test"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def trusting(ca_file: str) -> ssl.SSLContext:
    return TlsContexts(ca_file).verifying


@pytest.fixture
def right(authority: Authority, tmp_path: Path) -> ssl.SSLContext:
    return authority.issue(HOST).server_context(tmp_path)


def ask(
    run: Runner,
    server: WebServer,
    context: ssl.SSLContext,
    *,
    body: bytes = b"",
    deadline_s: float = 5,
) -> Response:
    async def check() -> Response:
        async with serving(server):
            request = Request(HOST, "/x", server.port, body, "a/b" if body else "")
            addresses = [ip_address("127.0.0.250"), ip_address("127.0.0.1")]
            return await send_request(request, addresses, context, deadline_s=deadline_s)

    return run(check())


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (http(b"hello"), Response(200, "text/plain", b"hello")),
        (http(b"", status="404 Not Found"), Response(404, "text/plain", b"")),
        (http(b"", "Location: https://evil.test/", status="302"), Response(302, "text/plain", b"")),
        (b"HTTP/1.0 200 OK\r\n\r\nto the end", Response(200, "", b"to the end")),
        (
            CHUNKED + b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n",
            Response(200, "", b"abc0123456789"),
        ),
    ],
)
def test_answers(
    run: Runner, right: ssl.SSLContext, trusting: ssl.SSLContext, answer: bytes, expected: Response
) -> None:
    server = WebServer(right, answer)
    assert ask(run, server, trusting) == expected
    assert server.requests[0].startswith(
        b"GET /x HTTP/1.1\r\nHost: mta-sts.b.test:%d\r\n" % server.port
    )


def test_a_post(run: Runner, right: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    server = WebServer(right, http(b""))
    assert ask(run, server, trusting, body=b"\0report").status == 200
    assert server.requests[0].startswith(b"POST /x ")
    assert server.requests[0].endswith(b"Content-Type: a/b\r\nContent-Length: 7\r\n\r\n\0report")


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 xxx OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000,
        http(b"x" * 65_537),
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0000000000009999999999\r\n\r\n" + b"x" * 200_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 200_000,
        CHUNKED + b"fffffff\r\n" + b"x" * 100_000,
        CHUNKED + b"-5\r\nx\r\n",
        CHUNKED + b"zz\r\nx\r\n",
        CHUNKED + b"1" * 70_000,
        CHUNKED + b"8000\r\n" + b"x" * 0x8000 + b"\r\n8001\r\n" + b"x" * 0x8001 + b"\r\n0\r\n\r\n",
    ],
)
def test_no_answer_is_longer_or_worse_than_it_may_be(
    run: Runner, right: ssl.SSLContext, trusting: ssl.SSLContext, answer: bytes
) -> None:
    with pytest.raises(RequestFailed) as caught:
        ask(run, WebServer(right, answer), trusting)
    assert not caught.value.is_certificate


def test_silence_ends(run: Runner, right: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    with pytest.raises(RequestFailed, match="no answer"):
        ask(run, WebServer(right, b""), trusting, deadline_s=0.3)


def test_the_certificate_has_to_be_right(
    run: Runner, authority: Authority, trusting: ssl.SSLContext, tmp_path: Path
) -> None:
    for number, certificate in enumerate(
        (
            authority.issue("mta-sts.c.test"),
            authority.issue(HOST, is_expired=True),
            Authority("Somebody").issue(HOST),
        )
    ):
        server = WebServer(certificate.server_context(tmp_path / str(number)), http(b"x"))
        with pytest.raises(RequestFailed) as caught:
            ask(run, server, trusting)
        assert caught.value.is_certificate
        assert server.requests == []


def test_nowhere_to_connect_to(run: Runner, trusting: ssl.SSLContext) -> None:
    with pytest.raises(RequestFailed, match="no address"):
        run(send_request(Request(HOST, "/"), [], trusting))


def test_the_deadline_is_that_of_the_design() -> None:
    assert (https_request.DEADLINE_S, https_request.MAX_BODY) == (10, 65_536)
