"""Requests and heads of answers of the form http, without I/O."""

from __future__ import annotations

import base64
import email.parser
import hashlib
import hmac
import json

import pytest

from relevo.config.hook_target import BadTarget, service_address
from relevo.hooks.http.requests import head, json_body, parts_body, sign
from relevo.hooks.http.responses import parse_head
from relevo.hooks.services.failures import ServiceFailed

CONTEXT = b'{"stage":"post-data","reverse_path":"a@r.test"}'


def test_a_small_message_is_in_the_object() -> None:
    body = json_body(CONTEXT, b"A: b\n\nx\n")
    said = json.loads(body.before)
    assert said["context"]["stage"] == "post-data"
    assert base64.b64decode(said["message_b64"]) == b"A: b\n\nx\n"
    assert "message_b64" not in json.loads(json_body(CONTEXT, b"").before)


def test_a_large_one_is_a_part_that_others_can_read() -> None:
    message = b"A: b\n\n" + b"line\n" * 10
    body = parts_body(CONTEXT, "word")
    octets = f"Content-Type: {body.content_type}\r\n\r\n".encode()
    parsed = email.parser.BytesParser().parsebytes(octets + body.before + message + body.after)
    context, part, *_ = [each for each in parsed.walk() if not each.is_multipart()]
    assert json.loads(str(context.get_payload())) == json.loads(CONTEXT)
    assert (part["A"], str(part.get_payload()).count("line")) == ("b", 10)


def test_the_head_says_where_it_goes_and_is_signed() -> None:
    address = service_address("http", "http://[::1]:8080/hook?a=b")
    body = json_body(CONTEXT, b"")
    lines = head(address, body, 12, 1700000000, "ab").decode().split("\r\n")
    assert lines[:2] == ["POST /hook?a=b HTTP/1.1", "Host: [::1]:8080"]
    assert "Content-Length: 12" in lines
    assert lines[-4:] == [
        "Relevo-Timestamp: 1700000000", "Relevo-Signature: sha256=ab", "", "",
    ]  # fmt: skip


def test_the_signature_is_over_time_and_body() -> None:
    expected = hmac.new(b"secret", b"17.one two", hashlib.sha256).hexdigest()
    assert sign(b"secret", 17, (b"one ", b"two")) == expected


@pytest.mark.parametrize(
    "target",
    [
        "x",
        "ftp://a/b",
        "http://",
        "http://u:p@h/",
        "http://h/a b",
        "http://h:99999/",
        "http://h/#f",
    ],
)
def test_what_is_no_url_is_refused(target: str) -> None:
    with pytest.raises(BadTarget):
        service_address("http", target)


@pytest.mark.parametrize(
    ("octets", "length", "is_chunked", "may_be_kept"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", 7, False, True),
        (b"HTTP/1.1 200\r\n\r\n", None, False, False),
        (b"HTTP/1.1 204 No\r\n\r\n", 0, False, True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 7\r\n\r\n", 7, False, False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", None, True, True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\n", 7, False, False),
    ],
)
def test_heads(octets: bytes, length: int | None, is_chunked: bool, may_be_kept: bool) -> None:
    parsed = parse_head(octets)
    assert (parsed.length, parsed.is_chunked, parsed.may_be_kept) == (
        length, is_chunked, may_be_kept,
    )  # fmt: skip


@pytest.mark.parametrize(
    "octets",
    [
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 7\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +7\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nContent-Length: 7\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    ],
)
def test_what_two_parsers_could_read_differently_is_refused(octets: bytes) -> None:
    with pytest.raises(ServiceFailed):
        parse_head(octets)
