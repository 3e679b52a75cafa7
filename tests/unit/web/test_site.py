"""Which path shows what, and to whom."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, replace

import pytest

from relevo.journal import Event, Rejected
from relevo.web import Figures, Site
from relevo.web.requests import Request, Response

TOKEN = "secret-token"


@dataclass
class Source:
    shown: Figures
    events: tuple[Event, ...] = ()
    ready: bool = True

    def figures(self) -> Figures:
        return self.shown

    def latest_events(self) -> tuple[Event, ...]:
        return self.events

    def is_ready(self) -> bool:
        return self.ready


def asked(site: Site, path: str, method: str = "GET", **fields: str) -> Response:
    return asyncio.run(site.answer(Request(method, path, fields)))


@pytest.fixture
def source(figures: Figures) -> Source:
    return Source(figures)


@pytest.fixture
def site(source: Source) -> Site:
    return Site(source, has_chasquid_names=False)


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/", "GET", 200),
        ("/", "HEAD", 200),
        ("/", "POST", 405),
        ("/metrics", "GET", 200),
        ("/metrics/relevo", "GET", 200),
        ("/metrics/chasquid", "GET", 200),
        ("/healthz", "GET", 200),
        ("/readyz", "GET", 200),
        ("/exit", "GET", 404),
        ("/exit", "POST", 404),
        ("/metrics/", "GET", 404),
        ("/debug/vars", "GET", 404),
        ("/%2e%2e/etc/passwd", "GET", 404),
    ],
)
def test_paths(site: Site, path: str, method: str, status: int) -> None:
    assert asked(site, path, method).status == status


def test_not_ready(site: Site, source: Source) -> None:
    source.ready = False
    assert asked(site, "/readyz").status == 503
    assert asked(site, "/healthz").status == 200


def test_chasquids_names_stand_at_metrics_where_wanted(source: Source) -> None:
    site = Site(source, has_chasquid_names=True)
    assert "chasquid_queue_putCount" in asked(site, "/metrics").body
    assert "relevo_commands" in asked(site, "/metrics/relevo").body


def authorization(scheme: str, text: str) -> str:
    return f"{scheme} {base64.b64encode(text.encode()).decode() if scheme == 'Basic' else text}"


@pytest.mark.parametrize(
    ("given", "status"),
    [
        pytest.param(authorization("Bearer", TOKEN), 200, id="bearer"),
        pytest.param(authorization("bearer", TOKEN), 200, id="small-letters"),
        pytest.param(authorization("Basic", f"any:{TOKEN}"), 200, id="basic"),
        pytest.param(authorization("Bearer", TOKEN[:-1]), 401, id="shorter"),
        pytest.param(authorization("Bearer", ""), 401, id="empty"),
        pytest.param(authorization("Basic", TOKEN), 401, id="user-only"),
        pytest.param("Basic ***", 401, id="no-base64"),
        pytest.param(f"Digest {TOKEN}", 401, id="other-scheme"),
        pytest.param(TOKEN, 401, id="no-scheme"),
        pytest.param("Bearer \xe9", 401, id="not-ascii"),
        pytest.param("", 401, id="none"),
    ],
)
def test_a_token(source: Source, given: str, status: int) -> None:
    site = Site(source, has_chasquid_names=False, token=TOKEN)
    for path in ("/", "/metrics"):
        assert asked(site, path, authorization=given).status == status
    assert asked(site, "/nowhere", authorization=given).status == (404 if status == 200 else 401)
    assert asked(site, "/healthz", authorization=given).status == 200


def test_exit_where_it_is_allowed(source: Source) -> None:
    ended: list[bool] = []
    site = Site(source, has_chasquid_names=False, end=lambda: ended.append(True))
    assert asked(site, "/exit").status == 405
    assert asked(site, "/exit", "POST", origin="http://evil.test").status == 403
    response = asked(site, "/exit", "POST")
    assert (response.status, response.body) == (200, "OK exiting\n")
    assert not ended
    assert response.then is not None
    response.then()
    assert ended == [True]


def test_the_page_escapes_what_others_have_chosen(site: Site, source: Source) -> None:
    source.shown = replace(source.shown, certificates={"<b>": 0.0})
    source.events = (
        Rejected(0.0, "192.0.2.1:1", "<script>@x", ("&amp;@y",), 550, "5.1.1", "no <i>"),
    )
    body = asked(site, "/").body
    assert "<script" not in body
    assert "<b>" not in body
    assert "<i>" not in body
    assert "&lt;script&gt;@x" in body


def test_the_page_shows_queue_listeners_and_certificates(site: Site) -> None:
    body = asked(site, "/").body
    for text in ("127.0.0.1:25", "[::1]:587", "mx.test", "in 30 d", "expired", "1 min 30 s old"):
        assert text in body
    assert "up 1 h 1 min" in body
