"""HTTP requests and responses as values, and the strict parser of a request's head (RFC 9112).

Only what a monitoring page needs: no continuation lines, no chunked bodies, no percent-decoding
(no path that is served has one). What is not exactly right is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_HEAD = 8192
MAX_BODY = 8192

_REQUEST_LINE = re.compile(rb"([A-Z]{1,16}) (/[!-~]*) HTTP/1\.([01])")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
_REPEATABLE = {"accept"}


class BadRequest(Exception):
    """A request that is not served; `status` is what to answer."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """A request without its body. Names of fields are in lower case."""

    method: str
    path: str  # without the query
    fields: Mapping[str, str]

    @property
    def body_length(self) -> int:
        """Octets to read and ignore. Raises BadRequest."""
        text = self.fields.get("content-length", "0")
        if not re.fullmatch("[0-9]{1,9}", text):
            raise BadRequest(HTTPStatus.BAD_REQUEST, "bad Content-Length")
        if int(text) > MAX_BODY:
            raise BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is too large")
        return int(text)


@dataclass(frozen=True, slots=True)
class Response:
    """What is sent; `then` runs after it was."""

    status: HTTPStatus
    body: str
    content_type: str = "text/plain; charset=utf-8"
    fields: tuple[tuple[str, str], ...] = ()
    then: Callable[[], None] | None = None

    def encode(self, *, with_body: bool = True) -> bytes:
        """The octets; without the body for HEAD."""
        body = self.body.encode("utf-8", "replace")
        lines = [
            f"HTTP/1.1 {self.status.value} {self.status.phrase}",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {len(body)}",
            "Connection: close",
            "Cache-Control: no-store",
            "X-Content-Type-Options: nosniff",
            f"Content-Security-Policy: {_POLICY}",
            *(f"{name}: {value}" for name, value in self.fields),
        ]
        head = "\r\n".join(lines).encode("ascii") + b"\r\n\r\n"
        return head + body if with_body else head


def text_response(status: HTTPStatus, text: str, *fields: tuple[str, str]) -> Response:
    """One line of plain text."""
    return Response(status, f"{text}\n", fields=fields)


def parse_head(head: bytes) -> Request:
    """The request whose head, up to and with the empty line, is `head`. Raises BadRequest."""
    first, *rest = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    line = _REQUEST_LINE.fullmatch(first)
    if line is None:
        raise BadRequest(HTTPStatus.BAD_REQUEST, "bad request line")
    fields: dict[str, str] = {}
    for each in rest:
        field = _FIELD.fullmatch(each)
        if field is None:
            raise BadRequest(HTTPStatus.BAD_REQUEST, "bad header field")
        name, value = field[1].decode("ascii").lower(), field[2].decode("latin-1").strip(" \t")
        if name not in fields:
            fields[name] = value
        elif name in _REPEATABLE:
            fields[name] += f", {value}"
        else:
            raise BadRequest(HTTPStatus.BAD_REQUEST, "repeated header field")
    if "transfer-encoding" in fields:
        raise BadRequest(HTTPStatus.NOT_IMPLEMENTED, "no transfer encoding is understood")
    if line[3] == b"1" and "host" not in fields:
        raise BadRequest(HTTPStatus.BAD_REQUEST, "no Host field")
    return Request(line[1].decode(), line[2].decode().partition("?")[0], fields)
