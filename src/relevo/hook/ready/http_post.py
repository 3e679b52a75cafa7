"""A POST over HTTP/1.1 (RFC 9112), one connection each: enough for a server beside us."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from relevo.hook.ready.peers import PeerFailed, ask

_MAX_DIGITS = 8  # of a chunk's size in hexadecimal


@dataclass(frozen=True, slots=True)
class Answer:
    """The final response."""

    status: int
    body: bytes


async def post(
    url: str, body: bytes, headers: Mapping[str, str], *, timeout_s: float, limit: int = 1024 * 1024
) -> Answer:
    """Send `body` and wait for the response. `limit`: its octets. Raises PeerFailed."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise PeerFailed(f"{url!r} is no URL: write http://HOST:PORT/PATH")
    tls = ssl.create_default_context() if parts.scheme == "https" else None
    port = parts.port or (443 if tls else 80)
    resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    fields = {
        "Host": parts.netloc.rpartition("@")[2],
        "Connection": "close",
        "Content-Length": str(len(body)),
        **headers,
    }
    head = f"POST {resource} HTTP/1.1\r\n" + "".join(
        f"{name}: {_clean(value)}\r\n" for name, value in fields.items()
    )
    question = f"{head}\r\n".encode() + body
    target = f"{parts.hostname}:{port}"
    said = await ask(target, question, timeout_s=timeout_s, limit=limit, tls=tls)
    try:
        return read_answer(said)
    except ValueError as error:
        raise PeerFailed(f"{target} does not speak HTTP: {error}") from error


def read_answer(octets: bytes) -> Answer:
    """From all that came until the connection was closed. Raises ValueError."""
    while True:
        head, end, rest = octets.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        words = lines[0].split(" ", 2)
        if not end or len(words) < 2 or not words[0].startswith("HTTP/1.") or len(words[1]) != 3:
            raise ValueError("the response has no head")
        status = int(words[1])
        if status >= 200:
            break
        octets = rest  # an interim response, 100 Continue
    fields = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    if "chunked" in fields.get("transfer-encoding", "").lower():
        return Answer(status, _joined_chunks(rest))
    length = fields.get("content-length")
    if length is None:
        return Answer(status, rest)
    if not length.isdecimal() or len(rest) < int(length):
        raise ValueError("the response is not complete")
    return Answer(status, rest[: int(length)])


def _joined_chunks(octets: bytes) -> bytes:
    pieces: list[bytes] = []
    while True:
        line, end, octets = octets.partition(b"\r\n")
        digits = line.partition(b";")[0].strip()
        if not end or not digits or len(digits) > _MAX_DIGITS:
            raise ValueError("a chunk has no size")
        size = int(digits, 16)
        if not size:
            return b"".join(pieces)
        if len(octets) < size + 2:
            raise ValueError("the response is not complete")
        pieces.append(octets[:size])
        octets = octets[size + 2 :]


def _clean(value: str) -> str:
    """What a client said never ends a line of ours."""
    return "".join(letter for letter in value if letter.isprintable())
