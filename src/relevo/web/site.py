"""Which path shows what, and to whom."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
from http import HTTPStatus
from typing import TYPE_CHECKING

from relevo.web.chasquid_names import chasquid_families
from relevo.web.exposition import (
    OPENMETRICS_TYPE,
    TEXT_TYPE,
    chasquid_text,
    openmetrics,
    prometheus_text,
)
from relevo.web.page import status_page
from relevo.web.relevo_names import relevo_families
from relevo.web.requests import Request, Response, text_response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Protocol

    from relevo.journal import Event
    from relevo.web.figures import Figures

    class Source(Protocol):
        """Where the pages have their content from. Called in a thread, one call at a time."""

        def figures(self) -> Figures:
            """This moment."""

        def latest_events(self) -> tuple[Event, ...]:
            """What happened last, newest first."""

        def is_ready(self) -> bool:
            """All workers take mail. Cheap."""


_HTML = "text/html; charset=utf-8"


class Site:
    """All pages."""

    def __init__(
        self,
        source: Source,
        *,
        has_chasquid_names: bool,
        token: str = "",
        end: Callable[[], None] | None = None,
    ) -> None:
        """`has_chasquid_names`: at /metrics. `token` "": none is asked for. `end` stops the server;
        None: nobody may.
        """
        self._source = source
        self._token = token.encode()
        self._end = end
        self._turn = asyncio.Lock()
        self._open = {"/healthz": self._healthz, "/readyz": self._readyz}
        self._pages: dict[str, Callable[[Request], Awaitable[Response]]] = {
            "/": self._status,
            "/metrics": self._chasquid if has_chasquid_names else self._relevo,
            "/metrics/relevo": self._relevo,
            "/metrics/chasquid": self._chasquid,
        }

    async def answer(self, request: Request) -> Response:
        """The response to any request."""
        is_exit = request.path == "/exit" and self._end is not None
        page: Callable[[Request], Awaitable[Response]] | None = self._open.get(request.path)
        if page is None:
            if not self._is_allowed(request):
                challenge = ("WWW-Authenticate", 'Basic realm="relevo", charset="UTF-8"')
                return text_response(HTTPStatus.UNAUTHORIZED, "a token is needed", challenge)
            page = self._exit if is_exit else self._pages.get(request.path)
        if page is None:
            return text_response(HTTPStatus.NOT_FOUND, "there is no such page")
        methods = ("POST",) if is_exit else ("GET", "HEAD")
        if request.method not in methods:
            allowed = ("Allow", ", ".join(methods))
            return text_response(HTTPStatus.METHOD_NOT_ALLOWED, "not with this method", allowed)
        return await page(request)

    def _is_allowed(self, request: Request) -> bool:
        if not self._token:
            return True
        scheme, _, value = request.fields.get("authorization", "").partition(" ")
        given = value.strip().encode("latin-1")
        if scheme.lower() == "basic":
            try:
                given = base64.b64decode(given, validate=True).partition(b":")[2]
            except binascii.Error:
                return False
        elif scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(given, self._token)

    async def _healthz(self, _request: Request) -> Response:
        return text_response(HTTPStatus.OK, "ok")

    async def _readyz(self, _request: Request) -> Response:
        if self._source.is_ready():
            return text_response(HTTPStatus.OK, "ready")
        return text_response(HTTPStatus.SERVICE_UNAVAILABLE, "not ready")

    async def _status(self, _request: Request) -> Response:
        async with self._turn:
            text = await asyncio.to_thread(self._make_status)
        return Response(HTTPStatus.OK, text, _HTML)

    def _make_status(self) -> str:
        return status_page(self._source.figures(), self._source.latest_events())

    async def _relevo(self, request: Request) -> Response:
        families = relevo_families(await self._figures())
        if "application/openmetrics-text" in request.fields.get("accept", ""):
            return Response(HTTPStatus.OK, openmetrics(families), OPENMETRICS_TYPE)
        return Response(HTTPStatus.OK, prometheus_text(families), TEXT_TYPE)

    async def _chasquid(self, _request: Request) -> Response:
        families = chasquid_families(await self._figures())
        return Response(HTTPStatus.OK, chasquid_text(families), OPENMETRICS_TYPE)

    async def _figures(self) -> Figures:
        async with self._turn:
            return await asyncio.to_thread(self._source.figures)

    async def _exit(self, request: Request) -> Response:
        if "origin" in request.fields:  # a page in somebody's browser, not the operator
            return text_response(HTTPStatus.FORBIDDEN, "not from a browser")
        return Response(HTTPStatus.OK, "OK exiting\n", then=self._end)
