"""The HTTP server over real sockets: one answer a connection, everything bounded."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import pytest

from relevo.web.requests import Request, Response, text_response
from relevo.web.server import HttpServer

GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
Address = tuple[str, int]


async def hello(request: Request) -> Response:
    return text_response(HTTPStatus.OK, f"{request.method} {request.path}")


async def broken(_request: Request) -> Response:
    raise RuntimeError("a bug")


def served(
    work: Callable[[Address], Awaitable[None]],
    answer: Callable[[Request], Awaitable[Response]] = hello,
    *,
    request_patience: float = 5.0,
    max_connections: int = 8,
) -> None:
    async def main() -> None:
        server = HttpServer(
            answer, request_patience=request_patience, max_connections=max_connections
        )
        listener = socket.create_server(("127.0.0.1", 0))
        await server.listen(listener)
        try:
            async with asyncio.timeout(10):
                await work(listener.getsockname())
        finally:
            server.close()

    asyncio.run(main())


async def said(address: Address, octets: bytes, *, ends: bool = False) -> bytes:
    """What the server answers until it closes."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(octets)
        if ends:
            writer.write_eof()
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("octets", "first", "last"),
    [
        pytest.param(GET, b"HTTP/1.1 200 OK", b"GET /x\n", id="get"),
        pytest.param(GET + GET, b"HTTP/1.1 200 OK", b"GET /x\n", id="pipelined-is-answered-once"),
        pytest.param(GET.replace(b"GET", b"HEAD"), b"HTTP/1.1 200 OK", b"", id="head"),
        pytest.param(b"\x16\x03\x01\r\n\r\n", b"HTTP/1.1 400 ", b"bad request line\n", id="tls"),
        pytest.param(
            b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
            b"HTTP/1.1 200 OK",
            b"POST /x\n",
            id="post",
        ),
        pytest.param(b"GET /" + b"x" * 20_000, b"HTTP/1.1 431 ", b"too large\n", id="large"),
    ],
)
def test_one_answer(octets: bytes, first: bytes, last: bytes) -> None:
    async def work(address: Address) -> None:
        head, _, body = (await said(address, octets)).partition(b"\r\n\r\n")
        assert head.startswith(first)
        assert body.endswith(last) if last else not body

    served(work)


def test_a_slow_request_is_answered_408() -> None:
    async def work(address: Address) -> None:
        assert (await said(address, GET[:10])).startswith(b"HTTP/1.1 408 ")

    served(work, request_patience=0.05)


def test_half_a_request_is_not_answered() -> None:
    async def work(address: Address) -> None:
        assert await said(address, GET[:10], ends=True) == b""
        assert (await said(address, GET)).startswith(b"HTTP/1.1 200 ")

    served(work)


def test_an_error_of_a_page_is_told_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def work(address: Address) -> None:
        answer = await said(address, GET)
        assert answer.startswith(b"HTTP/1.1 500 ")
        assert b"bug" not in answer

    served(work, broken)
    assert "a bug" in caplog.text


def test_more_connections_than_allowed_are_closed() -> None:
    async def work(address: Address) -> None:
        held = [await asyncio.open_connection(*address) for _ in range(2)]
        for _, writer in held:
            writer.write(GET[:5])
        assert await said(address, GET) == b""
        for reader, writer in held:
            writer.write(GET[5:])
            assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
            writer.close()

    served(work, max_connections=2)
