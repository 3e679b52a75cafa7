"""Heads of requests: exactly right, or refused."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from relevo.web.requests import BadRequest, Response, parse_head, text_response


def test_a_request() -> None:
    request = parse_head(b"GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\nAccept: x\r\nAccept:y \r\n\r\n")
    assert (request.method, request.path) == ("GET", "/metrics")
    assert request.fields == {"host": "a", "accept": "x, y"}
    assert request.body_length == 0
    assert parse_head(b"GET / HTTP/1.0\r\n\r\n").fields == {}


@pytest.mark.parametrize(
    ("head", "status"),
    [
        pytest.param(b"GET / HTTP/1.1", 400, id="no-host"),
        pytest.param(b"GET  / HTTP/1.1\r\nHost: a", 400, id="two-blanks"),
        pytest.param(b"get / HTTP/1.1\r\nHost: a", 400, id="small-letters"),
        pytest.param(b"GET / HTTP/2.0\r\nHost: a", 400, id="version"),
        pytest.param(b"GET http://a/ HTTP/1.1\r\nHost: a", 400, id="absolute"),
        pytest.param(b"GET /\xff HTTP/1.1\r\nHost: a", 400, id="octets"),
        pytest.param(b"GET / HTTP/1.1\nHost: a", 400, id="bare-lf"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\nX: y", 400, id="bare-lf-in-field"),
        pytest.param(b"GET / HTTP/1.1\r\nHost : a", 400, id="blank-before-colon"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n b", 400, id="folded"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b", 400, id="two-hosts"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX: \0", 400, id="nul"),
        pytest.param(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked", 501, id="te"),
        pytest.param(b"", 400, id="nothing"),
    ],
)
def test_anything_else_is_refused(head: bytes, status: int) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_head(head + b"\r\n\r\n")
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("length", "status"), [("-1", 400), ("1x", 400), ("", 400), ("8193", 413), ("9" * 12, 400)]
)
def test_bodies_are_bounded(length: str, status: int) -> None:
    head = f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"
    with pytest.raises(BadRequest) as caught:
        _ = parse_head(head.encode()).body_length
    assert caught.value.status == status


def test_a_response_says_its_length_and_closes() -> None:
    octets = text_response(HTTPStatus.OK, "ä", ("X-A", "b")).encode()
    head, _, body = octets.partition(b"\r\n\r\n")
    assert body == "ä\n".encode()
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 200 OK"
    assert {b"Content-Length: 3", b"Connection: close", b"X-A: b"} <= set(lines)
    assert Response(HTTPStatus.OK, "x").encode(with_body=False).endswith(b"\r\n\r\n")
