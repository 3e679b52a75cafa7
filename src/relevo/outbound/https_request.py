"""One HTTPS request, for policies and reports of other domains (RFC 9112).

The server is attacker input: no redirects are followed, the answer is bounded, the whole exchange
has a deadline, the certificate has to be valid for the host's name, and only addresses that the
caller vouches for are connected to.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from ipaddress import IPv4Address, IPv6Address

DEADLINE_S: Final = 10.0
CONNECT_S: Final = 5.0  # an address
MAX_BODY: Final = 64 * 1024  # octets
_MAX_HEAD: Final = 16 * 1024
_MAX_CHUNK_LINE: Final = 100


class RequestFailed(Exception):
    """No answer. `is_certificate`: because the server could not prove who it is."""

    def __init__(self, text: str, *, is_certificate: bool = False) -> None:
        super().__init__(text)
        self.is_certificate = is_certificate


@dataclass(frozen=True, slots=True)
class Request:
    """`path` begins with a slash; with a `body`, it is a POST."""

    host: str  # A-labels
    path: str
    port: int = 443
    body: bytes = b""
    content_type: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """What the server answered. `media_type` is in lower case, without parameters."""

    status: int
    media_type: str
    body: bytes


async def send_request(
    request: Request,
    addresses: Sequence[IPv4Address | IPv6Address],
    context: ssl.SSLContext,
    *,
    deadline_s: float = DEADLINE_S,
) -> Response:
    """The answer of the first address that can be connected to. Raises RequestFailed."""
    try:
        async with asyncio.timeout(deadline_s):
            reader, writer = await _connect(request, addresses, context)
            try:
                writer.write(_octets(request))
                return await _read_response(reader)
            finally:
                writer.transport.abort()
    except TimeoutError:
        raise RequestFailed(f"no answer in {deadline_s:g} s") from None
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, EOFError) as error:
        raise RequestFailed(f"the connection failed: {type(error).__name__}") from error


async def _connect(
    request: Request, addresses: Sequence[IPv4Address | IPv6Address], context: ssl.SSLContext
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    failure = RequestFailed("it has no address that may be connected to")
    for address in addresses:
        try:
            async with asyncio.timeout(CONNECT_S):
                return await asyncio.open_connection(
                    str(address),
                    request.port,
                    limit=_MAX_HEAD,
                    ssl=context,
                    server_hostname=request.host,
                    ssl_shutdown_timeout=1,
                )
        except ssl.SSLCertVerificationError as error:
            text = f"its certificate proves nothing: {error.verify_message}"
            raise RequestFailed(text, is_certificate=True) from error
        except TimeoutError:
            failure = RequestFailed(f"no connection in {CONNECT_S:g} s")
        except (OSError, ValueError) as error:
            failure = RequestFailed(f"no connection: {type(error).__name__}")
    raise failure


def _octets(request: Request) -> bytes:
    port = "" if request.port == 443 else f":{request.port}"
    lines = [
        f"{'POST' if request.body else 'GET'} {request.path} HTTP/1.1",
        f"Host: {request.host}{port}",
        "User-Agent: relevo",
        "Accept: */*",
        "Connection: close",
    ]
    if request.body:
        lines += [f"Content-Type: {request.content_type}", f"Content-Length: {len(request.body)}"]
    head = "\r\n".join(lines)
    assert "\n" not in head.replace("\r\n", "")
    return head.encode("ascii") + b"\r\n\r\n" + request.body


async def _read_response(reader: asyncio.StreamReader) -> Response:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    is_http = len(words) > 1 and words[0].startswith("HTTP/1.") and len(words[1]) == 3
    if not (is_http and words[1].isascii() and words[1].isdecimal()):
        raise RequestFailed("it does not answer in HTTP")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers.setdefault(name.strip().lower(), value.strip())
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    return Response(int(words[1]), media_type, await _read_body(reader, headers))


async def _read_body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return await _read_chunks(reader)
    length = headers.get("content-length")
    if length is None:
        return await _read_to_end(reader)
    is_number = length.isascii() and length.isdecimal() and len(length) <= len(str(MAX_BODY))
    if not is_number or int(length) > MAX_BODY:
        raise RequestFailed(f"its answer is longer than {MAX_BODY} octets")
    return await reader.readexactly(int(length))


async def _read_to_end(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while data := await reader.read(MAX_BODY):
        body += data
        if len(body) > MAX_BODY:
            raise RequestFailed(f"its answer is longer than {MAX_BODY} octets")
    return body


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        number = line.partition(b";")[0].strip()
        if len(line) > _MAX_CHUNK_LINE or not 0 < len(number) <= 8:
            raise RequestFailed("its answer is broken")
        try:
            size = int(number, 16)
        except ValueError:
            raise RequestFailed("its answer is broken") from None
        if not size:
            return body
        if size < 0 or len(body) + size > MAX_BODY:
            raise RequestFailed(f"its answer is longer than {MAX_BODY} octets")
        body += (await reader.readexactly(size + 2))[:-2]
